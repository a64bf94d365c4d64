//! Compiles libzmq with CURVE and the changes of `patches.rs`, or finds the system's if
//! `ZMQ_SYS_SYSTEM` is set.
//!
//! zeromq-src knows the files and flags, and has its sources to itself. So it is given this
//! program for a C++ compiler, which puts a changed file in the place of the original and
//! calls the real compiler: nothing is compiled twice, or with other flags than the rest.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command, exit};

use zeromq_src::LibLocation;

use patches::{HEADERS, PATCHES, Patch};

mod patches;

/// The real compiler and its first arguments, a line each. Set where this program is called
/// in its place.
const COMPILER: &str = "ZMQ_SYS_COMPILER";

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
    if let Some(compiler) = env::var_os(COMPILER) {
        let compiler = compiler.to_str().expect("the C++ compiler has a path in UTF-8");
        exit(compile(compiler));
    }
    println!("cargo::rerun-if-env-changed=ZMQ_SYS_SYSTEM");
    if env::var_os("ZMQ_SYS_SYSTEM").is_some() {
        let mut system = pkg_config::Config::new();
        let found = system.atleast_version("4.2").probe("libzmq");
        found.unwrap_or_else(|error| panic!("ZMQ_SYS_SYSTEM is set, but {error}"));
        return;
    }

    stand_in_for_compiler();

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

    for patch in PATCHES.iter().chain(&HEADERS) {
        let is_there = changed_sources().join(patch.file).exists();
        assert!(is_there, "{} of libzmq was compiled without its changes", patch.file);
    }
}

/// Where the changed files of libzmq are written to.
fn changed_sources() -> PathBuf {
    Path::new(&env::var_os("OUT_DIR").expect("set by cargo")).join("changed")
}

/// Has zeromq-src call this program in place of the C++ compiler.
fn stand_in_for_compiler() {
    // None is left from an earlier build, to be taken for one of this.
    let _ = fs::remove_dir_all(changed_sources());
    fs::create_dir_all(changed_sources()).expect("cargo's directory can be written");

    let compiler = cc::Build::new().cpp(true).no_default_flags(true).get_compiler().to_command();
    let words = std::iter::once(compiler.get_program()).chain(compiler.get_args());
    let words: Vec<&OsStr> = words.collect();
    let this = env::current_exe().expect("a program has a path");
    let target = env::var("TARGET").expect("set by cargo");
    // SAFETY: this process has no other thread yet.
    unsafe {
        env::set_var(COMPILER, words.join(OsStr::new("\n")));
        env::set_var(format!("CXX_{target}"), this);
        // A wrapper such as sccache is among the words, where the compiler was set up so.
        env::remove_var("RUSTC_WRAPPER");
    }
}

/// Where a file of libzmq is that was changed.
fn write_changed(patch: &Patch, directory: &Path) -> PathBuf {
    let changed = changed_sources().join(patch.file);
    let own = changed.with_extension(process::id().to_string());
    // Whoever reads it meanwhile reads the whole of it.
    let written = fs::write(&own, patch.apply(&directory.join(patch.file)));
    written.and_then(|()| fs::rename(&own, &changed)).expect("cargo's directory can be written");
    changed
}

/// Calls the real compiler as this program was called, with the changed files. Gives its
/// exit code.
fn compile(compiler: &str) -> i32 {
    let mut words = compiler.split('\n');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    for argument in env::args_os().skip(1) {
        let source = Path::new(&argument);
        let directory = source.parent().filter(|directory| directory.ends_with("vendor/src"));
        let Some(directory) = directory else {
            command.arg(argument);
            continue;
        };
        // Each source begins with the first of these. The others, once included, are not
        // looked for beside the source.
        command.arg("-include").arg(directory.join("precompiled.hpp"));
        for header in &HEADERS {
            command.arg("-include").arg(write_changed(header, directory));
        }
        match PATCHES.iter().find(|patch| source.ends_with(patch.file)) {
            Some(patch) => command.arg(write_changed(patch, directory)),
            None => command.arg(argument),
        };
    }
    let ended = command.status().expect("the C++ compiler can be called");
    ended.code().unwrap_or(1)
}
