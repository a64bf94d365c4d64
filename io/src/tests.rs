//! Against peers of ordinary contexts, whose threads do their I/O.

use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{context, descriptor, run};

const LIMIT: Duration = Duration::from_secs(30);

#[expect(unsafe_code, reason = "for all tests")]
fn serve(socket: &mut zmq::Socket) -> zmq::Result<bool> {
    // SAFETY: each test uses its sockets in one thread, or under a lock.
    unsafe { super::serve(socket) }
}

#[expect(unsafe_code, reason = "for all tests")]
fn watch(socket: &mut zmq::Socket, fd: BorrowedFd<'_>) -> zmq::Result<bool> {
    // SAFETY: as above, and all of these are sockets.
    unsafe { super::watch(socket, fd) }
}

/// A socket in a context of its own, which is run here, and where it listens.
fn listening(kind: zmq::SocketType) -> (zmq::Socket, String) {
    let context = context();
    let mut socket = context.socket(kind).unwrap();
    socket.set_linger(30_000).unwrap();
    socket.bind("tcp://127.0.0.1:*").unwrap();
    assert!(serve(&mut socket).unwrap());
    let endpoint = socket.get_last_endpoint().unwrap().unwrap();
    (socket, endpoint)
}

fn dealer(context: &zmq::Context, endpoint: &str) -> zmq::Socket {
    let dealer = context.socket(zmq::DEALER).unwrap();
    dealer.set_rcvtimeo(30_000).unwrap();
    dealer.set_linger(0).unwrap();
    dealer.connect(endpoint).unwrap();
    dealer
}

/// The next message.
#[track_caller]
fn next(socket: &mut zmq::Socket) -> Vec<Vec<u8>> {
    for _ in 0..1_000 {
        match socket.recv_multipart(zmq::DONTWAIT) {
            Err(zmq::Error::EAGAIN) => _ = run(socket, Some(LIMIT)).unwrap(),
            message => return message.unwrap(),
        }
    }
    panic!("it was run a thousand times, and nothing has come");
}

#[test]
fn an_ordinary_context_is_not_run() {
    let context = zmq::Context::new();
    let mut socket = context.socket(zmq::DEALER).unwrap();
    assert_eq!(serve(&mut socket), Ok(false));
    assert_eq!(descriptor(&mut socket), Ok(None));
    assert_eq!(run(&mut socket, None), Err(zmq::Error::EINVAL));
}

#[test]
fn messages_of_any_size_pass_both_ways() {
    let (mut router, endpoint) = listening(zmq::ROUTER);
    let sizes = [0, 1, 16, 100, 8_192, 100_000, 10_000_000];
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let context = zmq::Context::new();
                let dealer = dealer(&context, &endpoint);
                for size in sizes {
                    let body = vec![size as u8; size];
                    dealer.send_multipart([&body, &body], 0).unwrap();
                    assert!(dealer.recv_multipart(0).unwrap() == [&body[..], &body]);
                }
            });
        }
        for _ in 0..3 * sizes.len() {
            let message = next(&mut router);
            router.send_multipart(message, zmq::DONTWAIT).unwrap();
        }
        // The last ones leave.
        drop(router);
    });
}

#[test]
fn many_in_flight_pass_in_order() {
    const MESSAGES: u32 = 20_000;
    const IN_FLIGHT: u32 = 500;
    let (mut router, endpoint) = listening(zmq::ROUTER);
    router.set_router_mandatory(true).unwrap();
    thread::scope(|scope| {
        let peer = scope.spawn(|| {
            let context = zmq::Context::new();
            let dealer = dealer(&context, &endpoint);
            for number in 0..MESSAGES + IN_FLIGHT {
                if number < MESSAGES {
                    dealer.send(&number.to_be_bytes()[..], 0).unwrap();
                }
                if number >= IN_FLIGHT {
                    let answer = dealer.recv_msg(0).expect("an answer");
                    assert_eq!(answer[..], (number - IN_FLIGHT).to_be_bytes());
                }
            }
        });
        for _ in 0..MESSAGES {
            let message = next(&mut router);
            router.send_multipart(message, zmq::DONTWAIT).unwrap();
        }
        while !peer.is_finished() {
            run(&mut router, Some(Duration::from_millis(1))).unwrap();
        }
    });
}

#[test]
fn a_descriptor_that_is_watched_ends_the_wait() {
    let (mut bell, mut ear) = UnixStream::pair().unwrap();
    let (mut router, endpoint) = listening(zmq::ROUTER);
    assert!(watch(&mut router, std::os::fd::AsFd::as_fd(&ear)).unwrap());
    assert!(!run(&mut router, Some(Duration::ZERO)).unwrap().told);
    bell.write_all(b"x").unwrap();
    // As long as it is readable.
    for _ in 0..3 {
        assert!(run(&mut router, None).unwrap().told);
    }
    ear.read_exact(&mut [0]).unwrap();
    assert!(!run(&mut router, Some(Duration::ZERO)).unwrap().told);
    let context = zmq::Context::new();
    let dealer = dealer(&context, &endpoint);
    dealer.send("hello", 0).unwrap();
    assert_eq!(next(&mut router)[1], b"hello");
    // Twice, and though it is closed here.
    assert!(watch(&mut router, std::os::fd::AsFd::as_fd(&ear)).unwrap());
    drop(ear);
    drop(bell);
    assert!(run(&mut router, None).unwrap().told);
}

#[test]
fn its_descriptor_tells_that_there_is_something_to_run() {
    let (mut router, endpoint) = listening(zmq::ROUTER);
    let is_readable = |router: &mut zmq::Socket, wait_ms| {
        let fd = descriptor(router).unwrap().unwrap();
        zmq::poll(&mut [zmq::PollItem::from_fd(fd, zmq::POLLIN)], wait_ms).unwrap() == 1
    };
    while is_readable(&mut router, 0) {
        run(&mut router, Some(Duration::ZERO)).unwrap();
        // What has come to the socket counts until it is looked at.
        router.get_events().unwrap();
    }
    let context = zmq::Context::new();
    let dealer = dealer(&context, &endpoint);
    dealer.send("hello", 0).unwrap();
    let mut waits = 0;
    let message = loop {
        match router.recv_multipart(zmq::DONTWAIT) {
            Ok(message) => break message,
            Err(error) => assert_eq!(error, zmq::Error::EAGAIN),
        }
        assert!(is_readable(&mut router, 30_000), "it tells");
        run(&mut router, Some(Duration::ZERO)).unwrap();
        waits += 1;
    };
    assert_eq!(message[1], b"hello");
    // A few for the connection and its handshake, and no busy wait.
    assert!(waits < 50, "{waits}");
}

/// Commands of other threads come with a signal, and those of this one without: each is
/// told of, in whatever order they come.
#[test]
fn what_comes_from_threads_of_this_process_is_not_missed() {
    let context = context();
    let mut inside = context.socket(zmq::DEALER).unwrap();
    inside.bind("inproc://inside").unwrap();
    let mut router = context.socket(zmq::ROUTER).unwrap();
    router.bind("tcp://127.0.0.1:*").unwrap();
    for socket in [&mut inside, &mut router] {
        assert!(serve(socket).unwrap());
    }
    let endpoint = router.get_last_endpoint().unwrap().unwrap();
    const ROUNDS: u32 = 3_000;
    thread::scope(|scope| {
        let inner = scope.spawn(|| {
            let peer = dealer(&context, "inproc://inside");
            for _ in 0..ROUNDS {
                peer.send("inside", 0).unwrap();
                assert_eq!(&peer.recv_msg(0).expect("an answer")[..], b"inside");
            }
        });
        let outer = scope.spawn(|| {
            let other = zmq::Context::new();
            let peer = dealer(&other, &endpoint);
            for _ in 0..ROUNDS {
                peer.send("outside", 0).unwrap();
                assert_eq!(&peer.recv_msg(0).expect("an answer")[..], b"outside");
            }
        });
        while !inner.is_finished() || !outer.is_finished() {
            let mut idle = true;
            for socket in [&mut inside, &mut router] {
                match socket.recv_multipart(zmq::DONTWAIT) {
                    Ok(message) => {
                        socket.send_multipart(message, zmq::DONTWAIT).unwrap();
                        idle = false;
                    }
                    Err(error) => assert_eq!(error, zmq::Error::EAGAIN),
                }
            }
            if idle {
                // None of the peers tells that it has ended.
                run(&mut router, Some(Duration::from_millis(10))).unwrap();
            }
        }
    });
}

#[test]
fn threads_may_take_turns() {
    let (router, endpoint) = listening(zmq::ROUTER);
    let router = Arc::new(Mutex::new(router));
    const MESSAGES: usize = 4_000;
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    // Some wait, and some only look.
                    let mut router = router.lock().unwrap();
                    match router.recv_multipart(zmq::DONTWAIT) {
                        Ok(message) if message[1] == b"end" => return,
                        Ok(message) => router.send_multipart(message, zmq::DONTWAIT).unwrap(),
                        Err(zmq::Error::EAGAIN) => {
                            run(&mut router, Some(Duration::from_millis(1))).unwrap();
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        let context = zmq::Context::new();
        let dealer = dealer(&context, &endpoint);
        for _ in 0..MESSAGES {
            dealer.send("again", 0).unwrap();
            assert_eq!(&dealer.recv_msg(0).expect("an answer")[..], b"again");
        }
        for _ in 0..3 {
            dealer.send("end", 0).unwrap();
        }
    });
}

#[test]
fn what_is_left_leaves_when_the_context_ends() {
    let context = zmq::Context::new();
    for round in 0..100 {
        let pull = context.socket(zmq::PULL).unwrap();
        pull.set_rcvtimeo(30_000).unwrap();
        pull.bind("tcp://127.0.0.1:*").unwrap();
        let own = self::context();
        let mut push = own.socket(zmq::PUSH).unwrap();
        if round % 2 == 0 {
            assert!(serve(&mut push).unwrap());
        }
        push.set_linger(30_000).unwrap();
        push.connect(&pull.get_last_endpoint().unwrap().unwrap()).unwrap();
        for _ in 0..round % 5 {
            // Half of them has not begun to connect.
            if round % 2 == 0 {
                run(&mut push, Some(Duration::ZERO)).unwrap();
            }
        }
        for number in 0..100_u8 {
            push.send(&[number][..], zmq::DONTWAIT).unwrap();
        }
        drop(push);
        drop(own);
        for number in 0..100_u8 {
            assert_eq!(pull.recv_msg(0).expect("it has left")[..], [number]);
        }
    }
}

#[test]
fn sockets_come_and_go_while_others_are_served() {
    let context = context();
    let others = zmq::Context::new();
    let mut router = context.socket(zmq::ROUTER).unwrap();
    router.bind("tcp://127.0.0.1:*").unwrap();
    assert!(serve(&mut router).unwrap());
    let endpoint = router.get_last_endpoint().unwrap().unwrap();
    let peer = dealer(&others, &endpoint);
    for round in 0..300_u32 {
        let mut client = context.socket(zmq::DEALER).unwrap();
        client.set_linger(0).unwrap();
        client.connect(&endpoint).unwrap();
        assert!(serve(&mut client).unwrap());
        let number = round.to_be_bytes();
        client.send(&number[..], zmq::DONTWAIT).unwrap();
        if round % 3 == 0 {
            // Something of the one before may come first.
            let message = loop {
                let message = next(&mut router);
                if message[1] == number {
                    break message;
                }
            };
            router.send_multipart(message, zmq::DONTWAIT).unwrap();
            assert_eq!(next(&mut client), [number]);
        }
        drop(client);
        peer.send("outside", 0).unwrap();
        while next(&mut router)[1] != b"outside" {}
    }
}

/// More than libzmq looks at in a round.
#[test]
fn when_there_is_no_more_all_have_been_read() {
    let (mut router, endpoint) = listening(zmq::ROUTER);
    let context = zmq::Context::new();
    let dealers: Vec<_> = (0..400).map(|_| dealer(&context, &endpoint)).collect();
    for dealer in &dealers {
        dealer.send("hello", 0).unwrap();
        dealer.set_linger(30_000).unwrap();
    }
    for _ in &dealers {
        assert_eq!(next(&mut router)[1], b"hello");
    }
    for dealer in &dealers {
        dealer.send("last words", 0).unwrap();
    }
    let count = dealers.len();
    // Now all has been sent; nothing of it has been read.
    drop(dealers);
    drop(context);
    let mut read = 0;
    loop {
        let found = run(&mut router, Some(Duration::ZERO)).unwrap();
        while let Ok(message) = router.recv_multipart(zmq::DONTWAIT) {
            assert_eq!(message[1], b"last words");
            read += 1;
        }
        if !found.more {
            break;
        }
    }
    assert_eq!(read, count);
}

/// A connection that is made when a timer says so.
#[test]
fn what_a_timer_brings_is_not_slept_over() {
    let directory = std::env::temp_dir().join(format!("majordomo-io-{}", std::process::id()));
    let endpoint = format!("ipc://{}", directory.display());
    let context = context();
    let mut dealer = context.socket(zmq::DEALER).unwrap();
    dealer.set_linger(0).unwrap();
    dealer.set_reconnect_ivl(50).unwrap();
    assert!(serve(&mut dealer).unwrap());
    // It fails: nobody is there.
    dealer.connect(&endpoint).unwrap();
    dealer.send("hello", zmq::DONTWAIT).unwrap();
    run(&mut dealer, Some(Duration::ZERO)).unwrap();
    let others = zmq::Context::new();
    let router = others.socket(zmq::ROUTER).unwrap();
    router.set_rcvtimeo(30_000).unwrap();
    router.set_linger(0).unwrap();
    router.bind(&endpoint).unwrap();
    let peer = thread::spawn(move || {
        let message = router.recv_multipart(0).expect("the message comes");
        router.send_multipart(message, 0).unwrap();
        router
    });
    assert_eq!(next(&mut dealer), [b"hello"]);
    drop(peer.join().unwrap());
}

#[test]
fn what_one_socket_sends_to_another_is_not_slept_over() {
    let context = context();
    let mut sockets = [zmq::DEALER, zmq::DEALER].map(|kind| context.socket(kind).unwrap());
    sockets[0].bind("inproc://a").unwrap();
    sockets[1].connect("inproc://a").unwrap();
    for socket in &mut sockets {
        assert!(serve(socket).unwrap());
    }
    for _ in 0..100 {
        for socket in &mut sockets {
            run(socket, Some(Duration::ZERO)).unwrap();
            socket.get_events().unwrap();
        }
        // Both have been looked at, and now one has something.
        sockets[0].send("hello", zmq::DONTWAIT).unwrap();
        run(&mut sockets[0], None).unwrap();
        assert_eq!(&sockets[1].recv_msg(zmq::DONTWAIT).unwrap()[..], b"hello");
    }
}

#[test]
fn a_context_that_ends_is_told_of() {
    let mut context = context();
    let mut router = context.socket(zmq::ROUTER).unwrap();
    router.bind("tcp://127.0.0.1:*").unwrap();
    serve(&mut router).unwrap();
    let (running, is_running) = std::sync::mpsc::channel();
    let owner = thread::spawn(move || {
        loop {
            match router.recv_multipart(zmq::DONTWAIT) {
                Err(zmq::Error::EAGAIN) => {
                    let _ = running.send(());
                    let _ = run(&mut router, None);
                }
                ended => return ended.unwrap_err(),
            }
        }
    });
    is_running.recv().unwrap();
    context.destroy().unwrap();
    assert_eq!(owner.join().unwrap(), zmq::Error::ETERM);
}

/// It may look like that thread: libc uses its memory again.
#[test]
fn a_thread_that_comes_after_the_one_that_ran_is_another() {
    let context = context();
    let mut inside = context.socket(zmq::DEALER).unwrap();
    inside.bind("inproc://inside").unwrap();
    serve(&mut inside).unwrap();
    let peer = dealer(&context, "inproc://inside");
    let run_quietly = move || {
        for _ in 0..5 {
            run(&mut inside, Some(Duration::ZERO)).unwrap();
            inside.get_events().unwrap();
        }
        inside
    };
    let mut inside = thread::spawn(run_quietly).join().unwrap();
    let fd = descriptor(&mut inside).unwrap().unwrap();
    let mut items = [zmq::PollItem::from_fd(fd, zmq::POLLIN)];
    assert_eq!(zmq::poll(&mut items, 0), Ok(0));
    let peer = thread::spawn(move || peer.send("hello", 0).map(|()| peer).unwrap());
    let _peer = peer.join().unwrap();
    assert_eq!(zmq::poll(&mut items, 30_000), Ok(1), "it tells");
}
