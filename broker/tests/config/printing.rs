//! What is printed: the values in effect, a line of a check, help, the reference.

use majordomo_broker::config::{self, Config, KEYS};

use crate::inputs::{NO_ENVIRONMENT, all_changed, check_process, parse, printed, run};

#[test]
fn what_is_printed_can_be_read_back() {
    let toml: String =
        all_changed().iter().map(|(key, value)| format!("{} = {value}\n", key.name())).collect();
    let config = Config::builder().toml("a", &toml).build().expect("a valid configuration");
    for config in [config, Config::default()] {
        let printed = config.to_toml();
        let again = Config::builder().toml("b", &printed).build().expect("valid again");
        assert_eq!(again, config, "for\n{printed}");
        for key in KEYS {
            assert!(printed.contains(&format!("\n{} = ", key.name())), "{}", key.name());
        }
    }
}

#[test]
fn print_config_prints_the_values_in_effect() {
    let text = printed(&["--print-config", "--trace"], &[("MAJORDOMO_BROKER_LOG_FORMAT", "json")]);
    let config = Config::builder().toml("printed", &text).build().expect("valid");
    assert_eq!(config, run(&["--trace", "--log-format", "json"], &NO_ENVIRONMENT));
    assert!(text.lines().all(|line| line.len() < 80 || !line.starts_with('#')), "{text}");
}

#[test]
fn check_config_says_a_line() {
    let flags = ["--check-config", "--bind", "tcp://127.0.0.1:0", "--bind", "inproc://b"];
    assert_eq!(printed(&flags, &[]), "configuration ok, binds tcp://127.0.0.1:*, inproc://b\n");
    check_process(
        &["--check-config", "--io-threads", "65"],
        &[],
        "flag --io-threads: io_threads = 65: expected 0 to 64 threads",
    );
    let error = parse(&["--check-config", "--print-config"], &NO_ENVIRONMENT);
    let error = error.expect_err("one or the other").to_string();
    assert!(error.contains("cannot be used with"), "{error}");
}

#[test]
fn help_names_every_flag_variable_default_and_exit_code() {
    let help = printed(&["--help"], &NO_ENVIRONMENT);
    for key in KEYS {
        for said in [format!("--{}", key.flag()), key.variable(), key.heading().to_owned()] {
            assert!(help.contains(&said), "{said} in\n{help}");
        }
        assert!(help.contains(&format!("[default: {}]", key.default())), "{}", key.name());
    }
    for said in ["Example:", "SIGTERM", "  0   stopped as asked", "  1   failed", "  2   wrong"] {
        assert!(help.contains(said), "{said} in\n{help}");
    }
    assert!(printed(&["-h"], &NO_ENVIRONMENT).len() < help.len() / 2);
    let version = printed(&["--version"], &NO_ENVIRONMENT);
    assert_eq!(version, concat!("majordomo-broker ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_reference_has_a_row_for_every_key() {
    let reference = config::reference();
    for key in KEYS {
        let row = format!("| `{}` | `{}` | {} |", key.name(), key.default(), key.rule());
        assert_eq!(reference.matches(&row).count(), 1, "{row}");
    }
    assert!(reference.lines().all(|l| !l.starts_with('|') || l.matches('|').count() == 5));
}
