//! Batches of MDP/1.0 that the crate writes itself: whatever is written is read back,
//! wherever the bodies stand, and what cannot be written leaves the batch as it was.

mod reader;

use std::time::Duration;

use majordomo_protocol::client::{self, Answered};
use majordomo_protocol::{
    Agreement, Batch, Body, ClientAddress, Expected, Frames, Inexpressible, InstanceId, Message,
    Metadata, Offer, Reason, RequestId, ServiceName, Task, Terms, Version, worker,
};
use proptest::prelude::*;
use reader::{Command, Direction, batch, decode};

fn body() -> impl Strategy<Value = Body> {
    let frame = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::vec(frame, 1..4).prop_map(Body::from_frames)
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let pair = (".{0,12}", proptest::collection::vec(any::<u8>(), 0..12));
    proptest::collection::vec(pair, 0..4).prop_map(|pairs| {
        let mut metadata = Metadata::default();
        for (key, value) in pairs {
            metadata.push(&key, &value).expect("short keys and values");
        }
        metadata
    })
}

fn service() -> impl Strategy<Value = ServiceName> {
    "[a-zö .]{1,80}".prop_map(|name| ServiceName::new(name).expect("a name"))
}

/// What travels of a duration: whole milliseconds, 1 or more.
fn duration() -> impl Strategy<Value = Duration> {
    (1..=u32::MAX).prop_map(|ms| Duration::from_millis(ms.into()))
}

fn request_id() -> impl Strategy<Value = RequestId> {
    any::<[u8; 16]>().prop_map(RequestId::new)
}

fn task_id() -> impl Strategy<Value = ClientAddress> {
    any::<[u8; 8]>().prop_map(|id| ClientAddress::new(&id))
}

fn instance() -> impl Strategy<Value = InstanceId> {
    any::<[u8; 8]>().prop_map(InstanceId::new)
}

fn reason() -> impl Strategy<Value = Reason> {
    (any::<u16>(), ".{0,60}").prop_map(|(code, text)| Reason { code, text })
}

fn terms() -> impl Strategy<Value = Terms> {
    let durations = [0, 1].map(|_| proptest::option::of(duration()));
    (durations, any::<[bool; 3]>(), metadata()).prop_map(
        |([timeout, start_within], [once, no_reply, fail_fast], metadata)| Terms {
            timeout,
            start_within,
            once,
            no_reply,
            fail_fast,
            metadata,
        },
    )
}

fn from_client() -> impl Strategy<Value = Command> {
    use client::ToBroker::{Cancel, Heartbeat, Request};
    let request = (request_id(), service(), terms(), body());
    let command = prop_oneof![
        3 => request.prop_map(|(id, service, terms, body)| {
            Request { id: Some(id), service, terms, body }
        }),
        1 => request_id().prop_map(|id| Cancel { id }),
        1 => Just(Heartbeat),
    ];
    let version = Version::V1_0;
    command.prop_map(move |command| {
        Command::Broker(Message::Client { version, envelope: Vec::new(), command })
    })
}

fn to_client() -> impl Strategy<Value = Command> {
    use client::FromBroker::{Error, Final, Heartbeat, Partial};
    let request = || request_id().prop_map(Answered::Id);
    let command = prop_oneof![
        (request(), body()).prop_map(|(request, body)| Partial { request, body }),
        (request(), body()).prop_map(|(request, body)| Final { request, body }),
        (request_id(), reason(), body())
            .prop_map(|(id, reason, details)| { Error { id, reason, details } }),
        instance().prop_map(|instance| Heartbeat { instance }),
    ];
    command.prop_map(|command| Command::Client { envelope: Vec::new(), command })
}

fn from_worker() -> impl Strategy<Value = Command> {
    use worker::ToBroker::{Disconnect, Drain, Error, Final, Heartbeat, Partial, Ready};
    let offer = (any::<u16>(), proptest::option::of(duration()), any::<u8>(), metadata()).prop_map(
        |(capacity, heartbeat, liveness, metadata)| Offer {
            capacity,
            heartbeat,
            liveness,
            metadata,
        },
    );
    let command = prop_oneof![
        (service(), offer).prop_map(|(service, offer)| Ready { service, offer }),
        (task_id(), body()).prop_map(|(client, body)| Partial { client, body }),
        (task_id(), body()).prop_map(|(client, body)| Final { client, body }),
        (task_id(), reason(), body())
            .prop_map(|(client, reason, details)| { Error { client, reason, details } }),
        Just(Heartbeat),
        Just(Drain),
        reason().prop_map(|reason| Disconnect { reason }),
    ];
    let version = Version::V1_0;
    command.prop_map(move |command| Command::Broker(Message::Worker { version, command }))
}

fn to_worker() -> impl Strategy<Value = Command> {
    use worker::FromBroker::{Cancel, Disconnect, Heartbeat, Request, Welcome};
    let agreement = (duration(), any::<u8>(), instance())
        .prop_map(|(heartbeat, liveness, instance)| Agreement { heartbeat, liveness, instance });
    let task = (proptest::option::of(duration()), any::<u8>(), metadata())
        .prop_map(|(timeout, attempt, metadata)| Task { timeout, attempt, metadata });
    let command = prop_oneof![
        agreement.prop_map(Welcome),
        (task_id(), task, body()).prop_map(|(client, task, body)| Request { client, task, body }),
        task_id().prop_map(|client| Cancel { client }),
        Just(Heartbeat),
        reason().prop_map(|reason| Disconnect { reason }),
    ];
    command.prop_map(Command::Worker)
}

/// Commands of one sender for one receiver.
fn conversation() -> impl Strategy<Value = (Direction, Vec<Command>)> {
    fn several(
        direction: Direction,
        command: impl Strategy<Value = Command>,
    ) -> impl Strategy<Value = (Direction, Vec<Command>)> {
        proptest::collection::vec(command, 0..8).prop_map(move |commands| (direction, commands))
    }
    prop_oneof![
        several(Direction::ClientToBroker, from_client()),
        several(Direction::BrokerToClient, to_client()),
        several(Direction::WorkerToBroker, from_worker()),
        several(Direction::BrokerToWorker, to_worker()),
    ]
}

proptest! {
    // A failure prints its commands; no file beside the tests remembers it.
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_written_into_a_batch_are_read_back(
        (direction, commands) in conversation(),
        inline_bytes_max in 0usize..40,
    ) {
        let batch = batch::write(direction, inline_bytes_max, commands.clone()).expect("commands of 1.0");
        prop_assert_eq!(batch.records(), commands.len());
        let (bytes, count) = (batch.bytes(), batch.frame_count());
        let frames = batch.into_frames();
        prop_assert_eq!((frames.concat().len(), frames.len()), (bytes, count));
        prop_assert_eq!(decode(direction, Version::V1_0, 0, frames), (commands, None));
    }
}

fn request(terms: Terms, body: Body) -> client::ToBroker<Body> {
    let service = ServiceName::new("echo").expect("a name");
    client::ToBroker::Request { id: Some(RequestId::new([1; 16])), service, terms, body }
}

fn read_back(batch: Batch<Vec<u8>>) -> Vec<Command> {
    let (commands, error) =
        decode(Direction::ClientToBroker, Version::V1_0, 0, batch.into_frames());
    assert_eq!(error, None);
    commands
}

#[test]
fn a_record_says_up_to_65535_body_frames_and_more_are_refused() {
    let frames = |count| Body::from_frames(vec![b"x".to_vec(); count]);
    let mut batch = Batch::of_client(4096);
    request(Terms::default(), frames(65_535)).write(&mut batch).expect("as many as fit");
    let error = request(Terms::default(), frames(65_536)).write(&mut batch).unwrap_err();
    assert_eq!(error.to_string(), "MDP/1.0 cannot express a body of more than 65535 frames");
    assert_eq!((batch.records(), batch.frame_count()), (1, 65_536), "nothing was written");
    assert_eq!(read_back(batch).len(), 1);
}

#[test]
fn what_has_no_place_in_a_batch_is_refused_and_leaves_it_as_it_was() {
    fn refused(
        mut batch: Batch<Vec<u8>>,
        write: impl FnOnce(&mut Batch<Vec<u8>>) -> Result<(), Inexpressible>,
    ) -> &'static str {
        let error = write(&mut batch).unwrap_err();
        assert_eq!((batch.records(), batch.frame_count(), batch.bytes()), (0, 1, 6));
        assert_eq!(error.version, Version::V1_0);
        error.command
    }
    let (of_client, of_worker) = (|| Batch::of_client(9), || Batch::of_worker(9));
    let (service, body) = (ServiceName::new("echo").expect("a name"), Body::from("hello"));
    let request = client::ToBroker::Request {
        id: None,
        service: service.clone(),
        terms: Terms::default(),
        body: body.clone(),
    };
    assert_eq!(refused(of_client(), |batch| request.write(batch)), "REQUEST without id");
    let request = Answered::Service(service);
    let answer = client::FromBroker::Final { request, body: body.clone() };
    assert_eq!(refused(of_client(), |batch| answer.write(batch)), "an answer without id");
    for address in [&b""[..], b"seven..", b"nine....."] {
        let client = ClientAddress::new(address);
        let no_task = "an address that is no task id of 8 bytes";
        let reply = worker::ToBroker::Final { client: client.clone(), body: body.clone() };
        assert_eq!(refused(of_worker(), |batch| reply.write(batch)), no_task);
        let cancel = worker::FromBroker::Cancel { client };
        assert_eq!(refused(of_worker(), |batch| cancel.write(batch)), no_task);
    }
}

#[test]
fn what_reads_single_commands_of_old_versions_reads_no_batch() {
    for old in
        [&[&b"MDPC10"[..], b"\x02", b"echo", b"x"][..], &[b"MDPW10", b"\x03", b"c", b"", b"x"]]
    {
        let frames = || Frames::new(old.iter().map(|frame| frame.to_vec()).collect());
        let client = client::FromBroker::decode(Version::V1_0, frames()).unwrap_err();
        assert_eq!((client.frame, client.expected), (0, Expected::Header("MDPC01 or MDPC02")));
        let worker = worker::FromBroker::decode(Version::V1_0, frames()).unwrap_err();
        assert_eq!((worker.frame, worker.expected), (0, Expected::Header("MDPW01 or MDPW02")));
    }
}

#[test]
fn durations_travel_in_whole_milliseconds_and_never_become_none() {
    let travelled = |duration| {
        let mut batch = Batch::of_client(4096);
        let terms = Terms { timeout: Some(duration), ..Terms::default() };
        request(terms, Body::from("hello")).write(&mut batch).expect("a request");
        match read_back(batch).as_slice() {
            [
                Command::Broker(Message::Client {
                    command: client::ToBroker::Request { terms, .. },
                    ..
                }),
            ] => terms.timeout,
            other => panic!("{other:?}"),
        }
    };
    let longest = Duration::from_millis(u32::MAX.into());
    for (given, expected) in [
        (Duration::ZERO, Duration::from_millis(1)),
        (Duration::from_nanos(1), Duration::from_millis(1)),
        (Duration::from_micros(1_001), Duration::from_millis(2)),
        (Duration::from_millis(2_500), Duration::from_millis(2_500)),
        (longest, longest),
        (longest + Duration::from_nanos(1), longest),
        (Duration::MAX, longest),
    ] {
        assert_eq!(travelled(given), Some(expected), "{given:?}");
    }
}

#[test]
fn a_text_that_is_too_long_is_cut_between_characters() {
    for (text, bytes) in [
        ("x".repeat(65_535), 65_535),
        ("x".repeat(65_536), 65_535),
        ("ö".repeat(40_000), 65_534),
        ("€".repeat(40_000), 65_535),
    ] {
        let mut batch = Batch::<Vec<u8>>::of_worker(4096);
        let reason = Reason { code: 500, text: text.clone() };
        worker::ToBroker::Disconnect { reason }.write(&mut batch).expect("a disconnect");
        match read_back(batch).as_slice() {
            [
                Command::Broker(Message::Worker {
                    command: worker::ToBroker::Disconnect { reason },
                    ..
                }),
            ] => assert_eq!(reason.text, text[..bytes]),
            other => panic!("{other:?}"),
        }
    }
}
