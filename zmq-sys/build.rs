//! Compiles libzmq with CURVE, or finds the system's if `ZMQ_SYS_SYSTEM` is set.

use std::env;

use zeromq_src::LibLocation;

/// What libzmq's own configure finds on Linux with glibc. zeromq-src skips it and
/// leaves all of these out. HAVE_FORK is not wanted: a getpid() per wake-up.
const LINUX_GLIBC: [&str; 10] = [
    // Timeouts do not follow the wall clock.
    "HAVE_CLOCK_GETTIME",
    // A thread is woken through one eventfd instead of two sockets.
    "ZMQ_HAVE_EVENTFD ZMQ_HAVE_EVENTFD_CLOEXEC",
    // Child processes inherit none of the descriptors.
    "HAVE_ACCEPT4 ZMQ_HAVE_SOCK_CLOEXEC ZMQ_HAVE_O_CLOEXEC ZMQ_IOTHREAD_POLLER_USE_EPOLL_CLOEXEC",
    // The keepalive options are accepted either way, but do nothing without these.
    "ZMQ_HAVE_SO_KEEPALIVE ZMQ_HAVE_TCP_KEEPCNT ZMQ_HAVE_TCP_KEEPIDLE ZMQ_HAVE_TCP_KEEPINTVL",
    // Further socket options: without these they are ignored or unknown.
    "ZMQ_HAVE_SO_BINDTODEVICE ZMQ_HAVE_SO_PEERCRED ZMQ_HAVE_SO_PRIORITY ZMQ_HAVE_BUSY_POLL",
    // Endpoints can name a network interface: tcp://lo:*, tcp://[fe80::1%eth0]:5555.
    "ZMQ_HAVE_IFADDRS HAVE_IF_NAMETOINDEX",
    // ipc://* gets a directory of its own, closed to other users.
    "HAVE_MKDTEMP",
    // The I/O threads carry names and can be pinned to CPUs.
    "ZMQ_HAVE_PTHREAD_SETNAME_2 ZMQ_HAVE_PTHREAD_SET_AFFINITY",
    // Queues between threads start on a cache line. Neither works alone.
    "HAVE_POSIX_MEMALIGN=1 ZMQ_CACHELINE_SIZE=64",
    // The compiler knows C++11: noexcept, override, deleted copies.
    "ZMQ_HAVE_NOEXCEPT",
];

fn main() {
    println!("cargo::rerun-if-env-changed=ZMQ_SYS_SYSTEM");
    if env::var_os("ZMQ_SYS_SYSTEM").is_some() {
        let mut system = pkg_config::Config::new();
        let found = system.atleast_version("4.2").probe("libzmq");
        found.unwrap_or_else(|error| panic!("ZMQ_SYS_SYSTEM is set, but {error}"));
        return;
    }

    let is = |key, value| env::var(key).is_ok_and(|set| set == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        let mut flags = env::var("CXXFLAGS").unwrap_or_default();
        for define in LINUX_GLIBC.iter().flat_map(|line| line.split(' ')) {
            flags += " -D";
            flags += define;
        }
        // SAFETY: this process has no other thread yet.
        unsafe { env::set_var("CXXFLAGS", flags) };
    }

    // Set by libsodium-sys-stable, if it compiled libsodium.
    let [lib, include] = ["DEP_SODIUM_LIB", "DEP_SODIUM_INCLUDE"].map(|key| {
        env::var(key).expect("neither SODIUM_LIB_DIR nor SODIUM_USE_PKG_CONFIG may be set")
    });
    zeromq_src::Build::new().with_libsodium(Some(LibLocation::new(lib, include))).build();
}
