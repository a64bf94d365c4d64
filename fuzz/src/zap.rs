//! What libzmq asks about a connection (ZAP, RFC 27).
//!
//! A question is what its documentation says, whatever frames come, and gets one answer: eight
//! frames, the first four those of the question, so with its number. It lets somebody in just
//! when the frames hold the very key or password of an entry, or nothing is asked for.

use std::sync::LazyLock;

use majordomo_broker::engine::{Identity, Limits};
use majordomo_broker::security::rights_text::entries;
use majordomo_broker::security::roster::{Refusal, Roster};
use majordomo_broker::security::zap::Question;

use crate::{Target, frames, memory};

/// Questions about connections.
pub const TARGET: Target = Target { name: "zap", run, show: frames::show };

/// One that has a key, and one that has a password.
const RIGHTS: &str = "[[peer]]\nname = \"alice\"\n\
                      public_key = \"HelloWorldHelloWorldHelloWorldHelloWorld\"\n\
                      [[peer]]\nname = \"carol\"\npassword = \"s3cret\"\n";
/// What the text of that key stands for.
const KEY: [u8; 8] = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b];

static ROSTER: LazyLock<Roster> = LazyLock::new(|| {
    let mut roster = Roster::new(Limits::default());
    roster.replace(entries(RIGHTS).expect("rights"));
    roster
});

fn run(data: &[u8]) {
    let asked = frames::pieces(data);
    let room = 4 * data.len() + 4_096;
    let Some(question) = memory::within(room, || Question::read(asked.clone())) else {
        let is_one = asked.len() >= 8 && asked[1].is_empty() && asked[2] == b"1.0";
        assert!(!is_one, "a question is passed over");
        return;
    };
    assert_eq!(question.address, String::from_utf8_lossy(&asked[5]));
    let shown = format!("{question:?}");
    let verdict = match &question.proof {
        Some(proof) => ROSTER.identity(proof),
        None => Err(Refusal::Malformed),
    };
    let expected = expected(&asked[7], &asked[8..]);
    assert_eq!(verdict.map(Identity::number), expected, "{shown}");
    let answer = match verdict {
        Ok(identity) => question.allow(identity),
        Err(_) => question.refuse(),
    };
    let [status, text, user, metadata] = &answer[4..] else { panic!("{answer:?}") };
    assert_eq!(answer[..4], asked[..4], "it goes elsewhere");
    assert!(metadata.is_empty() && text.is_ascii() && text.len() < 256);
    match expected {
        Ok(number) => {
            assert_eq!((&status[..], &user[..]), (&b"200"[..], number.to_string().as_bytes()))
        }
        Err(_) => assert_eq!((&status[..], &user[..]), (&b"400"[..], &b""[..])),
    }
}

/// The number of whoever shows this: 1 and 2, in the order of the file.
fn expected(mechanism: &[u8], credentials: &[Vec<u8>]) -> Result<u32, Refusal> {
    match (mechanism, credentials) {
        (b"NULL", []) => Ok(0),
        (b"CURVE", [key]) if *key == KEY.repeat(4) => Ok(1),
        (b"CURVE", [key]) if key.len() == 32 => Err(Refusal::UnknownKey),
        (b"PLAIN", [user, password]) if user == b"carol" && password == b"s3cret" => Ok(2),
        (b"PLAIN", [user, _]) if user == b"carol" => Err(Refusal::WrongPassword),
        (b"PLAIN", [_, _]) => Err(Refusal::UnknownUser),
        _ => Err(Refusal::Malformed),
    }
}
