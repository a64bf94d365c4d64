//! Golden messages, from `tests/vectors/*.txt`, in both directions: the frames
//! decode to the command, and the command encodes to the frames.

mod reader;

use std::collections::HashSet;

use majordomo_protocol::{Excerpt, Found, Version};
use reader::{Command, Decoded, Outcome, Vector, batch, decode, encode, expectation, vectors};

/// Frames that a client knows to be its own envelope.
fn envelope(vector: &Vector) -> usize {
    match &vector.outcome {
        Outcome::Command(Command::Client { envelope, .. }) => envelope.len(),
        _ => 0,
    }
}

fn decoded(vector: &Vector) -> Decoded {
    decode(vector.direction, vector.version, envelope(vector), vector.frames.clone())
}

#[test]
fn frames_decode_to_the_command_they_mean() {
    for vector in vectors() {
        if let Outcome::Command(command) = &vector.outcome {
            assert_eq!(decoded(&vector), (vec![command.clone()], None), "{}", vector.name);
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
        let (commands, error) = decoded(&vector);
        let error = error.expect(name);
        assert_eq!(commands, [], "{name}");
        assert_eq!((error.frame, error.record), (*frame, None), "{name}: {error}");
        assert_eq!(expectation(error.expected), expected, "{name}: {error}");
        match vector.frames.get(*frame) {
            None => assert_eq!(error.found, Found::Nothing, "{name}: {error}"),
            Some(found) => {
                let found = Found::Frame(Excerpt::of(found));
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

#[test]
fn a_batch_decodes_to_its_commands_up_to_what_is_wrong() {
    for vector in batch::vectors() {
        let name = &vector.name;
        let (commands, error) = decode(vector.direction, Version::V1_0, 0, vector.frames);
        assert_eq!(commands, vector.commands, "{name}: {error:?}");
        let Some(refusal) = vector.refusal else {
            assert_eq!(error, None, "{name}");
            continue;
        };
        let error = error.expect(name);
        assert_eq!((error.frame, error.record), (refusal.frame, refusal.record), "{name}: {error}");
        assert_eq!(expectation(error.expected), refusal.expected, "{name}: {error}");
        let found = refusal.found.map(|found| Found::Frame(Excerpt::of(&found)));
        assert_eq!(error.found, found.unwrap_or(Found::Nothing), "{name}: {error}");
    }
}

#[test]
fn commands_encode_to_the_frames_of_their_batch() {
    let mut tried = 0;
    for vector in batch::vectors() {
        let Some(inline_bytes_max) = vector.inline_bytes_max else { continue };
        let name = &vector.name;
        let records = vector.commands.len();
        let batch = batch::write(vector.direction, inline_bytes_max, vector.commands).expect(name);
        assert_eq!(batch.records(), records, "{name}");
        assert_eq!(batch.frame_count(), vector.frames.len(), "{name}");
        assert_eq!(batch.bytes(), vector.frames.concat().len(), "{name}");
        assert_eq!(batch.into_frames(), vector.frames, "{name}");
        tried += 1;
    }
    assert!(tried >= 50, "only {tried} batches");
}

#[test]
fn every_batch_of_the_files_is_there_once_and_has_a_name_of_its_own() {
    for (file, commands) in [
        (batch::FILES[0], &["REQUEST", "CANCEL", "HEARTBEAT", "PARTIAL", "FINAL", "ERROR"][..]),
        (
            batch::FILES[1],
            &[
                "READY",
                "WELCOME",
                "REQUEST",
                "PARTIAL",
                "FINAL",
                "ERROR",
                "CANCEL",
                "HEARTBEAT",
                "DRAIN",
                "DISCONNECT",
            ],
        ),
    ] {
        let vectors = batch::read(file);
        let names: HashSet<&str> = vectors.iter().map(|vector| vector.name.as_str()).collect();
        assert_eq!(names.len(), vectors.len(), "a name twice in {file}");
        let (refused, taken): (Vec<_>, Vec<_>) = vectors.iter().partition(|v| v.refusal.is_some());
        assert!(refused.len() >= 30, "{file} has lost refusals");
        assert!(taken.len() >= 30, "{file} has lost batches");
        for command in commands {
            let mut names = taken.iter().flat_map(|vector| &vector.command_names);
            assert!(names.any(|name| name == command), "{file} has no {command}");
        }
    }
}
