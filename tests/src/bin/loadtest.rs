//! How fast is it? Our broker beside others, each a process of its own, in rounds that
//! take them in turn; a table for each shape of load, the ratios that we hold ourselves
//! to, and an object a line for each row.
//!
//! `cargo build --release --workspace --bins && target/release/loadtest [OPTIONS]`
//!
//! docs/performance.md says how to read it. Linux only.

use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use majordomo_tests::load::args::{Args, USAGE};
use majordomo_tests::load::drive::{Window, measure};
use majordomo_tests::load::figures::Figures;
use majordomo_tests::load::{
    bare, bare_v1, beating, broker, document, goals, idle, large, plan, secured, waiting,
};
use majordomo_tests::process::{end_with_parent, raise_descriptors};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Brokers to compare with are this program too.
    if let Some(run) = subject(&words) {
        raise_descriptors();
        end_with_parent();
        run();
        return ExitCode::SUCCESS;
    }
    let args = match Args::parse(words) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("loadtest: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    raise_descriptors();
    let figures = measured(&args);
    print!("{}{}", document::machine(&args), document::tables(&figures));
    if args.quick {
        println!("It works. Figures of so few requests say nothing.");
    } else {
        println!("{}", document::goals(&goals::outcomes(&figures)));
    }
    match written(&args, &figures) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn subject(words: &[String]) -> Option<Box<dyn FnOnce()>> {
    match words {
        [name, ahead] if name == "bare" || name == "bare-idle-first" => {
            let (ahead, idle_first) = (ahead.parse().ok()?, name == "bare-idle-first");
            Some(Box::new(move || bare::run(ahead, idle_first)))
        }
        [name] if name == "bare-v1" => Some(Box::new(bare_v1::run)),
        [name] if name == "proxy" => Some(Box::new(broker::run_proxy)),
        _ => None,
    }
}

fn measured(args: &Args) -> Figures {
    let mut figures = Figures::default();
    let time = Duration::from_secs_f64(args.seconds);
    let window = Window { warm_up: time / 3, time };
    for round in 1..=args.rounds {
        for row in plan::rows(args) {
            eprintln!("round {round} of {}: {}: {}", args.rounds, row.shape, row.subject);
            match row.broker.start() {
                Ok(broker) => {
                    let measured = measure(&broker, row.peers(&broker), window);
                    figures.add_measured(row.shape, row.subject, &measured);
                }
                Err(error) => {
                    figures.leave_out(format!("{}: {}: {error}", row.shape, row.subject));
                }
            }
        }
        eprintln!("round {round} of {}: idle, waiting, large, beating, mechanisms", args.rounds);
        idle::round(args, &mut figures);
        waiting::round(args, &mut figures);
        large::round(args, window, &mut figures);
        beating::round(args, window, &mut figures);
        secured::round(args, window, &mut figures);
    }
    figures
}

fn written(args: &Args, figures: &Figures) -> io::Result<()> {
    if let Some(path) = &args.json {
        let lines: String = figures.rows.iter().map(|row| format!("{}\n", row.to_json())).collect();
        fs::write(path, lines)?;
    }
    if let Some(path) = &args.document {
        document::update(path, args, figures)?;
    }
    Ok(())
}
