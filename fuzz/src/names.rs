//! Names as they come in frames.
//!
//! A service name is taken when it is what its documentation says, and comes back as it
//! was; what is refused says so on a short line. Opaque names come back and print in
//! hexadecimal.

use majordomo_protocol::{
    ClientAddress, Excerpt, InstanceId, PeerId, RequestId, ServiceName, dump,
};

use crate::Target;

/// The names.
pub const TARGET: Target = Target { name: "names", run, show: |data| dump(data).to_string() };

fn run(data: &[u8]) {
    service(data);
    opaque(data);
}

fn service(data: &[u8]) {
    let text = std::str::from_utf8(data).ok();
    let can_be = text.is_some_and(|text| {
        !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control)
    });
    let name = ServiceName::from_bytes(data);
    assert_eq!(name.is_ok(), can_be, "{name:?}");
    if let Some(text) = text {
        assert_eq!(ServiceName::new(text), name);
    }
    match name {
        Ok(name) => {
            assert_eq!(name.as_str().as_bytes(), data);
            assert_eq!(name.to_string(), name.as_str());
            assert_eq!(name.is_reserved(), data.starts_with(b"mmi."));
        }
        Err(error) => one_line(&error.to_string()),
    }
    one_line(&Excerpt::of(data).to_string());
    one_line(&dump(data).to_string());
}

fn one_line(text: &str) {
    assert!(text.len() < 250 && !text.contains(char::is_control), "{text:?}");
}

fn opaque(data: &[u8]) {
    let peer = PeerId::new(data);
    assert_eq!(peer.as_bytes(), data);
    let digits = data.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(peer.to_string(), digits);
    let address = ClientAddress::new(data);
    assert_eq!((address.as_bytes(), address.to_string()), (data, digits));
    if let Some(bytes) = data.first_chunk() {
        assert_eq!(RequestId::new(*bytes).as_bytes(), bytes);
        assert_eq!(RequestId::new(*bytes).to_string().len(), 32);
    }
    if let Some(bytes) = data.first_chunk() {
        assert_eq!(InstanceId::new(*bytes).as_bytes(), bytes);
        assert_eq!(InstanceId::new(*bytes).to_string().len(), 16);
    }
}
