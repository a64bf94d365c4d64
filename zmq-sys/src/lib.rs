//! The C interface of libzmq, in place of the published zmq-sys 0.12.0.
//!
//! The published one compiles libzmq 4.3.4 without CURVE and without telling it
//! what the system can do: TCP keepalive is accepted but never set, timeouts
//! follow the wall clock, and waking a thread takes two sockets instead of an
//! eventfd. This one compiles 4.3.5 with all of that (see `build.rs`).
//!
//! And it changes libzmq (see `patches.rs`): messages that travel alone take about half of
//! the system calls, peers cannot use three of its faults, and it tells of connections.
//!
//! - A routing id that begins with a zero octet is given by ROUTER sockets, and not
//!   taken from peers: one that announces such an id is given another. An id that
//!   somebody has is never given. Otherwise libzmq ends the process in both cases.
//!   Nor is an id taken that is longer than 255 octets, or that another peer has.
//! - [`ZMQ_MAXMSGSIZE`] holds for a message of several frames as a whole, too, each
//!   frame counted with 128 bytes more; beyond it the connection is closed while the
//!   message is still coming. Otherwise libzmq keeps any number of frames. It does so
//!   still for REQ sockets.
//! - Of the properties that a peer says of itself in its handshake 16 are kept, and none of
//!   more than 255 bytes; no more can be asked of a message (`zmq_msg_gets`). Otherwise libzmq
//!   keeps any number of any size, as long as the connection lives.
//! - A ROUTER socket can tell of connections, and end one: two options that no other
//!   libzmq has.
//! - A context of -1 I/O threads leaves their work to the owner of its sockets, by three more
//!   options (see `patches/caller.rs`). Its sockets stand still unless somebody does it. Otherwise
//!   libzmq refuses the number.
//!
//! libzmq is under the MPL 2.0, and so are the files changed, in their changed form, which
//! `patches.rs` names.
//!
//! The `zmq` crate gets it through `[patch.crates-io]` in the root manifest. An application
//! in a workspace of its own needs the same entry, or builds the published one.
//!
//! If `ZMQ_SYS_SYSTEM` is set, to any value, libzmq is not compiled but looked up
//! by pkg-config (4.2 or later), and has none of these changes. libsodium is compiled all the same, for nothing.
//!
//! The names are those of `zmq.h`; deprecated functions, helpers that Rust has
//! itself, and most protocol error numbers are left out.

#![allow(non_camel_case_types, reason = "the names of zmq.h")]

use std::ffi::{c_char, c_int, c_long, c_short, c_void};
pub use std::os::fd::RawFd;

macro_rules! constants {
    ($type:ty: $($name:ident = $value:expr,)*) => { $(pub const $name: $type = $value;)* };
}

pub mod errno;

constants! { u32:
    ZMQ_HAUSNUMERO = 156_384_712,

    // Context options and their defaults.
    ZMQ_IO_THREADS = 1, ZMQ_MAX_SOCKETS = 2, ZMQ_SOCKET_LIMIT = 3, ZMQ_THREAD_PRIORITY = 3,
    ZMQ_THREAD_SCHED_POLICY = 4, ZMQ_MAX_MSGSZ = 5, ZMQ_MSG_T_SIZE = 6,
    ZMQ_THREAD_AFFINITY_CPU_ADD = 7, ZMQ_THREAD_AFFINITY_CPU_REMOVE = 8,
    ZMQ_THREAD_NAME_PREFIX = 9, ZMQ_IO_THREADS_DFLT = 1, ZMQ_MAX_SOCKETS_DFLT = 1023,

    // Socket types.
    ZMQ_PAIR = 0, ZMQ_PUB = 1, ZMQ_SUB = 2, ZMQ_REQ = 3, ZMQ_REP = 4, ZMQ_DEALER = 5,
    ZMQ_ROUTER = 6, ZMQ_PULL = 7, ZMQ_PUSH = 8, ZMQ_XPUB = 9, ZMQ_XSUB = 10, ZMQ_STREAM = 11,

    // Socket options.
    ZMQ_AFFINITY = 4, ZMQ_ROUTING_ID = 5, ZMQ_SUBSCRIBE = 6, ZMQ_UNSUBSCRIBE = 7, ZMQ_RATE = 8,
    ZMQ_RECOVERY_IVL = 9, ZMQ_SNDBUF = 11, ZMQ_RCVBUF = 12, ZMQ_RCVMORE = 13, ZMQ_FD = 14,
    ZMQ_EVENTS = 15, ZMQ_TYPE = 16, ZMQ_LINGER = 17, ZMQ_RECONNECT_IVL = 18, ZMQ_BACKLOG = 19,
    ZMQ_RECONNECT_IVL_MAX = 21, ZMQ_MAXMSGSIZE = 22, ZMQ_SNDHWM = 23, ZMQ_RCVHWM = 24,
    ZMQ_MULTICAST_HOPS = 25, ZMQ_RCVTIMEO = 27, ZMQ_SNDTIMEO = 28, ZMQ_LAST_ENDPOINT = 32,
    ZMQ_ROUTER_MANDATORY = 33, ZMQ_TCP_KEEPALIVE = 34, ZMQ_TCP_KEEPALIVE_CNT = 35,
    ZMQ_TCP_KEEPALIVE_IDLE = 36, ZMQ_TCP_KEEPALIVE_INTVL = 37, ZMQ_IMMEDIATE = 39,
    ZMQ_XPUB_VERBOSE = 40, ZMQ_ROUTER_RAW = 41, ZMQ_IPV6 = 42, ZMQ_MECHANISM = 43,
    ZMQ_PLAIN_SERVER = 44, ZMQ_PLAIN_USERNAME = 45, ZMQ_PLAIN_PASSWORD = 46,
    ZMQ_CURVE_SERVER = 47, ZMQ_CURVE_PUBLICKEY = 48, ZMQ_CURVE_SECRETKEY = 49,
    ZMQ_CURVE_SERVERKEY = 50, ZMQ_PROBE_ROUTER = 51, ZMQ_REQ_CORRELATE = 52,
    ZMQ_REQ_RELAXED = 53, ZMQ_CONFLATE = 54, ZMQ_ZAP_DOMAIN = 55, ZMQ_ROUTER_HANDOVER = 56,
    ZMQ_TOS = 57, ZMQ_CONNECT_ROUTING_ID = 61, ZMQ_GSSAPI_SERVER = 62,
    ZMQ_GSSAPI_PRINCIPAL = 63, ZMQ_GSSAPI_SERVICE_PRINCIPAL = 64, ZMQ_GSSAPI_PLAINTEXT = 65,
    ZMQ_HANDSHAKE_IVL = 66, ZMQ_SOCKS_PROXY = 68, ZMQ_XPUB_NODROP = 69, ZMQ_BLOCKY = 70,
    ZMQ_XPUB_MANUAL = 71, ZMQ_XPUB_WELCOME_MSG = 72, ZMQ_STREAM_NOTIFY = 73,
    ZMQ_INVERT_MATCHING = 74, ZMQ_HEARTBEAT_IVL = 75, ZMQ_HEARTBEAT_TTL = 76,
    ZMQ_HEARTBEAT_TIMEOUT = 77, ZMQ_XPUB_VERBOSER = 78, ZMQ_CONNECT_TIMEOUT = 79,
    ZMQ_TCP_MAXRT = 80, ZMQ_THREAD_SAFE = 81, ZMQ_MULTICAST_MAXTPDU = 84,
    ZMQ_VMCI_BUFFER_SIZE = 85, ZMQ_VMCI_BUFFER_MIN_SIZE = 86, ZMQ_VMCI_BUFFER_MAX_SIZE = 87,
    ZMQ_VMCI_CONNECT_TIMEOUT = 88, ZMQ_USE_FD = 89, ZMQ_GSSAPI_PRINCIPAL_NAMETYPE = 90,
    ZMQ_GSSAPI_SERVICE_PRINCIPAL_NAMETYPE = 91, ZMQ_BINDTODEVICE = 92,

    // Draft options that libzmq takes without its drafts. The published crate lacks
    // the names: code that must also compile with it writes the numbers.
    ZMQ_ZAP_ENFORCE_DOMAIN = 93, ZMQ_RECONNECT_STOP = 109,
    ZMQ_RECONNECT_STOP_CONN_REFUSED = 1, ZMQ_RECONNECT_STOP_HANDSHAKE_FAILED = 2,
    ZMQ_RECONNECT_STOP_AFTER_DISCONNECT = 4,

    // Messages, polling, security mechanisms.
    ZMQ_MORE = 1, ZMQ_SHARED = 3, ZMQ_DONTWAIT = 1, ZMQ_SNDMORE = 2, ZMQ_GROUP_MAX_LENGTH = 255,
    ZMQ_POLLIN = 1, ZMQ_POLLOUT = 2, ZMQ_POLLERR = 4, ZMQ_POLLPRI = 8, ZMQ_POLLITEMS_DFLT = 16,
    ZMQ_NULL = 0, ZMQ_PLAIN = 1, ZMQ_CURVE = 2, ZMQ_GSSAPI = 3,

    // What a monitor reports.
    ZMQ_EVENT_CONNECTED = 0x1, ZMQ_EVENT_CONNECT_DELAYED = 0x2, ZMQ_EVENT_CONNECT_RETRIED = 0x4,
    ZMQ_EVENT_LISTENING = 0x8, ZMQ_EVENT_BIND_FAILED = 0x10, ZMQ_EVENT_ACCEPTED = 0x20,
    ZMQ_EVENT_ACCEPT_FAILED = 0x40, ZMQ_EVENT_CLOSED = 0x80, ZMQ_EVENT_CLOSE_FAILED = 0x100,
    ZMQ_EVENT_DISCONNECTED = 0x200, ZMQ_EVENT_MONITOR_STOPPED = 0x400,
    ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL = 0x800, ZMQ_EVENT_HANDSHAKE_SUCCEEDED = 0x1000,
    ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL = 0x2000, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH = 0x4000,
    ZMQ_EVENT_ALL = 0xFFFF,

    // Values that come with ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL when a peer is set up wrongly.
    ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC = 0x1100_0001,
    ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH = 0x1100_0002,
}

/// A message. Opaque: start it with one of the `zmq_msg_init` functions, end it
/// with `zmq_msg_close`. A bitwise copy is no second reference: `zmq_msg_copy` is.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug)]
pub struct zmq_msg_t([u8; 64]);

impl Default for zmq_msg_t {
    fn default() -> Self {
        Self([0; 64])
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct zmq_pollitem_t {
    pub socket: *mut c_void,
    pub fd: RawFd,
    pub events: c_short,
    pub revents: c_short,
}

pub type zmq_free_fn = Option<unsafe extern "C" fn(data: *mut c_void, hint: *mut c_void)>;

#[rustfmt::skip] // One function, one line.
unsafe extern "C" {
    pub fn zmq_errno() -> c_int;
    pub fn zmq_strerror(errnum: c_int) -> *const c_char;
    pub fn zmq_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int);
    pub fn zmq_has(capability: *const c_char) -> c_int;

    pub fn zmq_ctx_new() -> *mut c_void;
    pub fn zmq_ctx_term(context: *mut c_void) -> c_int;
    pub fn zmq_ctx_shutdown(context: *mut c_void) -> c_int;
    pub fn zmq_ctx_set(context: *mut c_void, option: c_int, value: c_int) -> c_int;
    pub fn zmq_ctx_get(context: *mut c_void, option: c_int) -> c_int;

    pub fn zmq_msg_init(msg: *mut zmq_msg_t) -> c_int;
    pub fn zmq_msg_init_size(msg: *mut zmq_msg_t, size: usize) -> c_int;
    pub fn zmq_msg_init_data(msg: *mut zmq_msg_t, data: *mut c_void, size: usize, free: zmq_free_fn, hint: *mut c_void) -> c_int;
    pub fn zmq_msg_send(msg: *mut zmq_msg_t, socket: *mut c_void, flags: c_int) -> c_int;
    pub fn zmq_msg_recv(msg: *mut zmq_msg_t, socket: *mut c_void, flags: c_int) -> c_int;
    pub fn zmq_msg_close(msg: *mut zmq_msg_t) -> c_int;
    pub fn zmq_msg_move(to: *mut zmq_msg_t, from: *mut zmq_msg_t) -> c_int;
    pub fn zmq_msg_copy(to: *mut zmq_msg_t, from: *mut zmq_msg_t) -> c_int;
    pub fn zmq_msg_data(msg: *mut zmq_msg_t) -> *mut c_void;
    pub fn zmq_msg_size(msg: *const zmq_msg_t) -> usize;
    pub fn zmq_msg_more(msg: *const zmq_msg_t) -> c_int;
    pub fn zmq_msg_get(msg: *const zmq_msg_t, property: c_int) -> c_int;
    pub fn zmq_msg_set(msg: *mut zmq_msg_t, property: c_int, value: c_int) -> c_int;
    pub fn zmq_msg_gets(msg: *const zmq_msg_t, property: *const c_char) -> *const c_char;

    pub fn zmq_socket(context: *mut c_void, kind: c_int) -> *mut c_void;
    pub fn zmq_close(socket: *mut c_void) -> c_int;
    pub fn zmq_setsockopt(socket: *mut c_void, option: c_int, value: *const c_void, size: usize) -> c_int;
    pub fn zmq_getsockopt(socket: *mut c_void, option: c_int, value: *mut c_void, size: *mut usize) -> c_int;
    pub fn zmq_bind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_connect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_unbind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_disconnect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_send(socket: *mut c_void, data: *const c_void, size: usize, flags: c_int) -> c_int;
    pub fn zmq_send_const(socket: *mut c_void, data: *const c_void, size: usize, flags: c_int) -> c_int;
    pub fn zmq_recv(socket: *mut c_void, data: *mut c_void, size: usize, flags: c_int) -> c_int;
    pub fn zmq_socket_monitor(socket: *mut c_void, endpoint: *const c_char, events: c_int) -> c_int;

    pub fn zmq_poll(items: *mut zmq_pollitem_t, count: c_int, timeout: c_long) -> c_int;
    pub fn zmq_proxy(front: *mut c_void, back: *mut c_void, capture: *mut c_void) -> c_int;
    pub fn zmq_proxy_steerable(front: *mut c_void, back: *mut c_void, capture: *mut c_void, control: *mut c_void) -> c_int;

    pub fn zmq_z85_encode(to: *mut c_char, data: *const u8, size: usize) -> *mut c_char;
    pub fn zmq_z85_decode(to: *mut u8, text: *const c_char) -> *mut u8;
    pub fn zmq_curve_keypair(public: *mut c_char, secret: *mut c_char) -> c_int;
    pub fn zmq_curve_public(public: *mut c_char, secret: *const c_char) -> c_int;
}
