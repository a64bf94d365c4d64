//! Golden messages, from `tests/vectors/*.txt`, in both directions: the frames
//! decode to the command, and the command encodes to the frames.

mod reader;

use std::collections::HashSet;

use majordomo_protocol::Found;
use reader::{Command, Outcome, Vector, decode, encode, expectation, vectors};

/// Frames that a client knows to be its own envelope.
fn envelope(vector: &Vector) -> usize {
    match &vector.outcome {
        Outcome::Command(Command::Client { envelope, .. }) => envelope.len(),
        _ => 0,
    }
}

fn decoded(vector: &Vector) -> Result<Command, majordomo_protocol::DecodeError> {
    decode(vector.direction, vector.version, envelope(vector), vector.frames.clone())
}

#[test]
fn frames_decode_to_the_command_they_mean() {
    for vector in vectors() {
        if let Outcome::Command(command) = &vector.outcome {
            assert_eq!(decoded(&vector).as_ref(), Ok(command), "{}", vector.name);
        }
    }
}

#[test]
fn a_command_encodes_to_its_frames() {
    for vector in vectors() {
        if let Outcome::Command(command) = vector.outcome {
            let frames = encode(vector.version, command);
            assert_eq!(frames.as_ref(), Some(&vector.frames), "{}", vector.name);
        }
    }
}

#[test]
fn a_refusal_names_the_frame_the_expectation_and_the_find() {
    for vector in vectors() {
        let Outcome::Refused { frame, expected } = &vector.outcome else { continue };
        let name = &vector.name;
        let error = decoded(&vector).expect_err(name);
        assert_eq!(error.frame, *frame, "{name}: {error}");
        assert_eq!(expectation(error.expected), expected, "{name}: {error}");
        match vector.frames.get(*frame) {
            None => assert_eq!(error.found, Found::Nothing, "{name}: {error}"),
            Some(found) => {
                let found = Found::Frame(majordomo_protocol::Excerpt::of(found));
                assert_eq!(error.found, found, "{name}: {error}");
            }
        }
    }
}

#[test]
fn what_a_version_cannot_express_does_not_encode() {
    let mut tried = 0;
    for vector in vectors() {
        if let Outcome::Inexpressible(command) = vector.outcome {
            assert_eq!(encode(vector.version, command), None, "{}", vector.name);
            tried += 1;
        }
    }
    assert_eq!(tried, 2, "PARTIAL of MDP/0.1, from a worker and to a client");
}

#[test]
fn every_message_of_the_files_is_there_once_and_has_a_name_of_its_own() {
    for file in
        ["mdp-client-0.1.txt", "mdp-client-0.2.txt", "mdp-worker-0.1.txt", "mdp-worker-0.2.txt"]
    {
        let vectors = reader::read(file);
        let names: HashSet<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
        assert_eq!(names.len(), vectors.len(), "a name twice in {file}");
        let refused = vectors.iter().filter(|v| matches!(v.outcome, Outcome::Refused { .. }));
        assert!(refused.count() >= 30, "{file} has lost refusals");
        let commands = vectors.iter().filter(|v| matches!(v.outcome, Outcome::Command(_)));
        assert!(commands.count() >= 15, "{file} has lost commands");
    }
}
