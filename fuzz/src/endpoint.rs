//! Endpoints, which libzmq and its binding must be safe from.
//!
//! What is taken is written in one way, which is taken as the same; it has one of three
//! forms and holds nothing that the binding panics on. Whatever can be connected to can
//! be listened on. What is refused names the text and the forms.

use majordomo_protocol::{Endpoint, INPROC_NAME_BYTES_MAX, IPC_PATH_BYTES_MAX, InvalidEndpoint};

use crate::Target;

/// The parser of endpoints.
pub const TARGET: Target =
    Target { name: "endpoint", run, show: |data| format!("{:?}", String::from_utf8_lossy(data)) };

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let listen: Result<Endpoint, InvalidEndpoint> = text.parse();
    let connect = Endpoint::to_connect(&text);
    for error in [listen.as_ref().err(), connect.as_ref().err()].into_iter().flatten() {
        let message = error.to_string();
        assert!(message.starts_with(&format!("endpoint {text:?} ")), "{message}");
        assert!(message.ends_with("; expected tcp://HOST:PORT, ipc://PATH or inproc://NAME"));
        assert!(!message.contains(char::is_control), "{message:?}");
    }
    let Ok(endpoint) = listen else {
        assert!(connect.is_err(), "{text:?} is only to connect to");
        return;
    };
    let written = endpoint.as_str();
    assert_eq!(written.parse().as_ref(), Ok(&endpoint), "written so, it is another");
    assert_eq!(endpoint.to_string(), written);
    assert!(!written.contains(char::is_control), "{written:?}");
    if let Ok(connect) = &connect {
        assert_eq!(connect, &endpoint);
    }
    if let Some(address) = written.strip_prefix("tcp://") {
        let (host, port) = address.rsplit_once(':').expect("a port");
        assert!(!host.is_empty() && !host.contains(char::is_whitespace), "{written:?}");
        assert!(port == "*" || port.parse().is_ok_and(|port: u16| port > 0), "{written:?}");
        assert_eq!(endpoint.is_ipv6(), host.starts_with('['));
        assert_eq!(connect.is_ok(), host != "*" && port != "*", "{written:?}");
        assert_eq!(endpoint.ipc_path(), None);
        return;
    }
    assert!(connect.is_ok() && written == text, "{written:?}");
    if let Some(path) = written.strip_prefix("ipc://") {
        assert!((1..=IPC_PATH_BYTES_MAX).contains(&path.len()), "{written:?}");
        assert_eq!(endpoint.ipc_path().is_some(), !path.starts_with('@'));
    } else {
        let name = written.strip_prefix("inproc://").expect("one of three forms");
        assert!((1..=INPROC_NAME_BYTES_MAX).contains(&name.len()), "{written:?}");
    }
}
