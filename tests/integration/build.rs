//! That libzmq is the one this workspace builds. The published zmq-sys would do most
//! things the same, and a few not at all: no CURVE, no keepalive, old faults.

use std::fs;

use majordomo_tests::limit::until;
use majordomo_tests::raw::RawPeer;
use majordomo_tests::spawn::BrokerProcess;

#[test]
fn libzmq_has_curve() {
    assert_eq!(zmq::has("curve"), Some(true));
}

#[test]
fn libzmq_is_4_3_5_or_later() {
    assert!(zmq::version() >= (4, 3, 5), "{:?}", zmq::version());
}

/// The option is accepted in any build; whether it is passed on to the system shows
/// only there. The broker asks for a probe after 60 s; the system's own default is
/// two hours, and none without the option.
#[test]
fn tcp_keepalive_reaches_the_system() {
    let broker = BrokerProcess::start();
    let (_, port) = broker.endpoint().rsplit_once(':').expect("a port");
    let port: u16 = port.parse().expect("a port");
    let mut client = RawPeer::dealer(broker.endpoint());
    client.sync();
    let local = format!("0100007F:{port:04X}");
    until(
        "the kernel has a keepalive timer of at most 60 s for a connection to the broker",
        || {
            let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
            table.lines().find_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                // Established, and timer 2 is the keepalive timer; in hundredths of a second.
                let [_, at, _, "01", _, timer, ..] = fields[..] else { return None };
                let left = u64::from_str_radix(timer.strip_prefix("02:")?, 16).ok()?;
                (at == local && left <= 6_000).then_some(())
            })
        },
    );
}
