//! Values that hold for some services only.

use std::error::Error;

use majordomo_broker::config::{Config, ConfigBuilder};
use majordomo_protocol::ServiceName;

use crate::inputs::check;

#[test]
fn some_services_have_values_of_their_own() {
    let toml = r#"
        prefetch = 2
        [service.echo]
        prefetch = 3
        [service."image.*"]
        prefetch = 4
        [service."image.print"]
        prefetch = 1
    "#;
    let config = Config::builder().toml("broker.toml", toml).build().expect("valid");
    let of = |config: &Config, name| *config.prefetch().of(&ServiceName::new(name).expect("one"));
    let found = ["echo", "image.scale", "image.print", "mail"].map(|name| of(&config, name));
    assert_eq!(found, [3, 4, 1, 2]);
    // What holds for all is set anew, and what holds for some stays.
    let config = Config::builder().toml("broker.toml", toml).set("prefetch", 8);
    let config = config.set_for("echo", "prefetch", 9).build().expect("valid");
    let found = ["echo", "image.scale", "mail"].map(|name| of(&config, name));
    assert_eq!(found, [9, 4, 8]);
    let printed = config.to_toml();
    let again = Config::builder().toml("printed", &printed).build().expect("valid again");
    assert_eq!(again, config, "for\n{printed}");
}

#[test]
fn faults_in_what_is_set_for_some_services_name_the_line_and_the_rule() {
    check("[service.echo]", "ok");
    check(
        "\n[service.echo]\nprefetch = 0",
        "broker.toml:3: prefetch = 0: expected 1 to 64 requests",
    );
    check(
        "[service.echo]\nprefetch = 1\n[service.sum]\nworkers_max = 4",
        "broker.toml:4: [service.\"sum\"] takes prefetch, found workers_max (a name with dots stands \
         in quotes)",
    );
    check(
        "[service.image.scale]\nprefetch = 4",
        "broker.toml:1: [service.\"image\"] takes prefetch, found scale (a name with dots stands in \
         quotes)",
    );
    for name in ["*", "", "mmi.*", "mmi.service"] {
        let text = format!("[service.{name:?}]\nprefetch = 4");
        let error = Config::builder().toml("broker.toml", &text).build().expect_err("a fault");
        assert_eq!(error.to_string(), format!("broker.toml:1: [service.{name:?}]"));
        assert!(error.source().is_some(), "it says why");
    }
    let no_table = "invalid type: integer `4`, expected a map";
    check("service = 4", &format!("broker.toml:1: {no_table}"));
    check("\n[service]\nprefetch = 4", &format!("broker.toml:3: {no_table}"));
    check("[service.echo]\nprefetch = 1\nprefetch = 2", "broker.toml:3: duplicate key");
    let fault = |builder: ConfigBuilder| builder.build().expect_err("a fault").to_string();
    assert_eq!(
        fault(Config::builder().set_for("echo", "trace", true)),
        "set by the program: [service.\"echo\"] takes prefetch, found trace (a name with dots stands \
         in quotes)"
    );
}
