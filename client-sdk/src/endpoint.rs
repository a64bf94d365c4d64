//! Which endpoints a client can connect to.
//!
//! ZeroMQ takes some impossible endpoints in silence, a port of 99999 modulo 65536
//! among them, and others end the process; so they are checked before it sees them.

/// Checks that `endpoint` names a place to connect to, or says the rule it breaks.
pub(crate) fn check(endpoint: &str) -> Result<(), &'static str> {
    if endpoint.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("no blanks and no control characters");
    }
    match endpoint.split_once("://") {
        Some(("tcp", address)) => tcp(address),
        Some(("ipc", path)) => ipc(path),
        Some(("inproc", name)) => inproc(name),
        _ => Err("it begins with tcp://, ipc:// or inproc://"),
    }
}

/// Whether the host is given as an IPv6 address, which ZeroMQ must be told.
pub(crate) fn is_ipv6(endpoint: &str) -> bool {
    endpoint.starts_with("tcp://[")
}

fn tcp(address: &str) -> Result<(), &'static str> {
    let Some((host, port)) = address.rsplit_once(':') else {
        return Err("tcp:// is followed by host:port");
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match bracketed {
        Some(host) => !host.is_empty() && !host.contains(['[', ']']),
        None => !host.is_empty() && !host.contains([':', ';', '/', '[', ']', '*']),
    };
    if !host_fits {
        return Err("the host of tcp://host:port is a name, an IPv4 address or an IPv6 address \
                    in brackets, and not *, to which one can only bind");
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(1..) if digits => Ok(()),
        _ => Err("the port of tcp://host:port is a number from 1 to 65535"),
    }
}

fn ipc(path: &str) -> Result<(), &'static str> {
    // sockaddr_un has room for 108 bytes, the last of which is zero.
    match path.len() {
        0 => Err("ipc:// is followed by a path"),
        1..=107 if path != "*" => Ok(()),
        1 => Err("to ipc://* one can only bind"),
        _ => Err("the path of ipc:// has at most 107 bytes"),
    }
}

fn inproc(name: &str) -> Result<(), &'static str> {
    match name.len() {
        1..=255 => Ok(()),
        _ => Err("the name of inproc:// has 1 to 255 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_one_can_connect_to_are_taken() {
        for endpoint in [
            "tcp://127.0.0.1:5555",
            "tcp://localhost:1",
            "tcp://broker.example:65535",
            "tcp://[::1]:5555",
            "ipc:///run/majordomo.sock",
            "ipc://@majordomo",
            "inproc://broker",
        ] {
            assert_eq!(check(endpoint), Ok(()), "{endpoint}");
        }
    }

    #[test]
    fn other_endpoints_are_refused() {
        let long = format!("ipc:///{}", "x".repeat(107));
        for endpoint in [
            "",
            "127.0.0.1:5555",
            "udp://127.0.0.1:5555",
            "TCP://127.0.0.1:5555",
            "tcp://",
            "tcp://127.0.0.1",
            "tcp://:5555",
            "tcp://*:5555",
            "tcp://::1:5555",
            "tcp://[]:5555",
            "tcp://a;b:5555",
            "tcp://127.0.0.1:",
            "tcp://127.0.0.1:0",
            "tcp://127.0.0.1:*",
            "tcp://127.0.0.1:+80",
            "tcp://127.0.0.1:65536",
            "tcp://127.0.0.1:99999",
            "tcp://127.0.0.1:5555\0",
            "tcp://127.0.0.1 :5555",
            "ipc://",
            "ipc://*",
            &long,
            "inproc://",
        ] {
            assert!(check(endpoint).is_err(), "{endpoint:?}");
        }
    }
}
