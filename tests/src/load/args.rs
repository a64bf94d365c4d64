//! The command line of `loadtest`.

use std::path::PathBuf;

/// How to use it.
pub const USAGE: &str = "\
usage: loadtest [OPTIONS]
  --rounds N          rounds, of which medians are taken (5)
  --seconds S         how long each row is measured in each round (1)
  --only TEXT         only shapes whose name has this text
  --previous PATH     another build of majordomo-broker as a further subject
  --json FILE         write an object for each row, one a line
  --document FILE     put tables into this document, and charts into charts/ beside it
  --quick             a round of some milliseconds each, with few workers: only to see that it works";

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Args {
    /// How many rounds.
    pub rounds: usize,
    /// Seconds that each row is measured.
    pub seconds: f64,
    /// What the name of a shape must have; empty for all.
    pub only: String,
    /// Another build of ourselves.
    pub previous: Option<PathBuf>,
    /// Where the objects go.
    pub json: Option<PathBuf>,
    /// Where tables and charts go.
    pub document: Option<PathBuf>,
    /// Whether only to see that it works.
    pub quick: bool,
}

impl Args {
    /// Reads what stands behind the program's name.
    ///
    /// # Errors
    ///
    /// A line that says what is wrong.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut args = Args {
            rounds: 5,
            seconds: 1.0,
            only: String::new(),
            previous: None,
            json: None,
            document: None,
            quick: false,
        };
        let mut words = words.into_iter();
        while let Some(option) = words.next() {
            if option == "--quick" {
                (args.quick, args.rounds, args.seconds) = (true, 1, 0.03);
                continue;
            }
            let known = ["--rounds", "--seconds", "--only", "--previous", "--json", "--document"];
            if !known.contains(&option.as_str()) {
                return Err(format!("there is no option {option}"));
            }
            let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
            let wrong = |expected: &str| format!("{option} is {value:?}, not {expected}");
            match option.as_str() {
                "--rounds" => {
                    let rounds = value.parse().ok().filter(|rounds| (1..=1_000).contains(rounds));
                    args.rounds = rounds.ok_or_else(|| wrong("a number from 1 to 1000"))?;
                }
                "--seconds" => {
                    let seconds =
                        value.parse().ok().filter(|seconds| (0.01..=600.0).contains(seconds));
                    args.seconds = seconds.ok_or_else(|| wrong("a number from 0.01 to 600"))?;
                }
                "--only" => args.only = value,
                "--previous" => args.previous = Some(value.into()),
                "--json" => args.json = Some(value.into()),
                _ => args.document = Some(value.into()),
            }
        }
        if args.document.is_some() && (args.quick || !args.only.is_empty()) {
            return Err("--document needs all figures: neither --quick nor --only".to_owned());
        }
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Args, String> {
        Args::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read() {
        let args = parse("--rounds 7 --seconds 0.5 --json a.json --previous b").expect("valid");
        assert_eq!((args.rounds, args.seconds, args.quick), (7, 0.5, false));
        assert_eq!((args.json, args.previous), (Some("a.json".into()), Some("b".into())));
        assert!(parse("--quick").expect("valid").quick);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse("--round 1"), Err("there is no option --round".to_owned()));
        assert_eq!(parse("--json"), Err("--json needs a value".to_owned()));
        for text in ["--document a.md --quick", "--only 64 --document a.md"] {
            assert!(parse(text).expect_err(text).starts_with("--document needs"), "{text}");
        }
        for text in ["--rounds 0", "--rounds x", "--seconds -1", "--seconds NaN"] {
            assert!(parse(text).expect_err(text).contains(", not a number from"), "{text}");
        }
    }
}
