//! I/O by the thread that calls: no message changes threads inside libzmq.
//!
//! A context that is set to -1 I/O threads has one that is not started. What it would do,
//! the owner of its sockets does, by three options of a socket with numbers that libzmq
//! does not use. They fail with EINVAL in any other context; and where libzmq does not
//! poll by epoll, -1 does.
//!
//! 19782 (an int, to be set): this socket is used by nobody but the one who runs I/O. If
//! the int is not -1 it is a descriptor that ends a wait for I/O when it is readable, as
//! long as this socket is open. libzmq keeps a duplicate.
//!
//! 19783 (an int, to be read): runs I/O once. It moves what can be moved between peers and
//! the sockets of the context, and waits for the first of it for at most as many
//! milliseconds as the int says when it is asked, without end if that is -1. It then says,
//! added up, 1 if a descriptor of the above is readable, and 2 if so many connections had
//! something that others may have, too. Nothing moves while nobody asks, so nobody may call
//! what blocks.
//!
//! 19784 (an int, to be read): a descriptor that is readable when there is I/O to run, but
//! for what time brings. It is so until something is sent or run, and must be asked for
//! again before it is waited for.
//!
//! Threads may take turns at the sockets of the context, and never use them at once. When
//! the context ends, and the sockets are closed for which this was, the I/O thread is
//! started, and sends what is left.

use super::{Edit, Patch};

/// Starts the I/O thread late, if there are -1.
pub const CONTEXT: Patch = Patch {
    file: "ctx.cpp",
    edits: &[
        Edit {
            old: "
        case ZMQ_IO_THREADS:
            if (is_int && value >= 0) {",
            times: 1,
            new: "
        case ZMQ_IO_THREADS:
#if defined ZMQ_IOTHREAD_POLLER_USE_EPOLL
            if (is_int && value >= -1) {
#else
            if (is_int && value >= 0) {
#endif",
        },
        Edit {
            old: "const int ios = _io_thread_count;",
            times: 1,
            new: "
    const bool caller_does_io = _io_thread_count == -1;
    const int ios = caller_does_io ? 1 : _io_thread_count;",
        },
        Edit {
            old: "
        io_thread->start ();",
            times: 1,
            new: "
        if (!caller_does_io)
            io_thread->start ();",
        },
        Edit {
            old: "
        //  Wait till reaper thread closes all the sockets.",
            times: 1,
            new: "
        for (io_threads_t::size_type i = 0; i != _io_threads.size (); i++)
            _io_threads[i]->start_when_free ();

        //  Wait till reaper thread closes all the sockets.",
        },
    ],
};

pub const IO_THREAD_H: Patch = Patch {
    file: "io_thread.hpp",
    edits: &[
        Edit {
            old: "
#include \"mailbox.hpp\"
",
            times: 1,
            new: "
#include \"mailbox.hpp\"
#include <map>
",
        },
        Edit {
            old: "
  private:
    //  I/O thread accesses incoming commands via this mailbox.",
            times: 1,
            new: "
    bool is_started () const;

    //  Instead of the thread, for the owner of the sockets with these mailboxes.
    int serve (mailbox_t *socket_, fd_t watched_);
    int run_once (int timeout_);
    fd_t get_fd ();
    void release (mailbox_t *socket_);

    //  Starts the thread, if it is not, once there is no such socket.
    void start_when_free ();

  private:
    struct told_t : public i_poll_events
    {
        told_t () : told (false) {}
        void in_event () { told = true; }
        void out_event () {}
        void timer_event (int) {}
        bool told;
    };

    struct watch_t
    {
        poller_t::handle_t handle;
        //  A descriptor that is closed with it, or none.
        fd_t fd;
    };
    typedef std::multimap<mailbox_t *, watch_t> watched_t;

    poller_t::handle_t watch (fd_t fd_, i_poll_events *told_);

    std::atomic<bool> _started;
    runner_t _runner;
    told_t _told;

    //  Guards what follows: the context may end in any thread.
    mutex_t _serving;
    bool _ending;

    //  What is watched for each socket.
    watched_t _watched;

    //  I/O thread accesses incoming commands via this mailbox.",
        },
    ],
};

/// Does the work of the thread once.
pub const IO_THREAD: Patch = Patch {
    file: "io_thread.cpp",
    edits: &[
        Edit {
            old: "
#include \"io_thread.hpp\"
",
            times: 1,
            new: "
#include \"io_thread.hpp\"
#include <fcntl.h>
#include <unistd.h>
",
        },
        Edit {
            old: "
    object_t (ctx_, tid_),",
            times: 1,
            new: "
    object_t (ctx_, tid_),
    _started (false),
    _ending (false),",
        },
        Edit {
            old: "
void zmq::io_thread_t::start ()
{",
            times: 1,
            new: "
bool zmq::io_thread_t::is_started () const
{
    return _started;
}

zmq::poller_t::handle_t zmq::io_thread_t::watch (fd_t fd_, i_poll_events *told_)
{
    const poller_t::handle_t handle = _poller->add_fd (fd_, told_);
    _poller->set_pollin (handle);
    return handle;
}

int zmq::io_thread_t::serve (mailbox_t *socket_, fd_t watched_)
{
    scoped_lock_t lock (_serving);
    if (_watched.find (socket_) == _watched.end ()) {
        const watch_t own = {watch (socket_->get_fd (), socket_), retired_fd};
        _watched.insert (watched_t::value_type (socket_, own));
        socket_->read_by (&_runner);
    }
    if (watched_ == retired_fd)
        return 0;
    const fd_t fd = fcntl (watched_, F_DUPFD_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    const watch_t other = {watch (fd, &_told), fd};
    _watched.insert (watched_t::value_type (socket_, other));
    return 0;
}

int zmq::io_thread_t::run_once (int timeout_)
{
#if defined ZMQ_IOTHREAD_POLLER_USE_EPOLL
    _runner.own = &_mailbox;
    _mailbox.read_by (&_runner);
    _runner.set_to_this_thread ();
    //  First what may send: nothing may be left to do, or to be looked at, in a wait.
    const int until_timer = _poller->run_timers ();
    while (_mailbox.has_commands ())
        in_event ();
    _told.told = false;
    int events = 0;
    _poller->wait (until_timer, _runner.has_sent ? 0 : timeout_, &events);
    //  The owner looks at all sockets now.
    _runner.has_sent = false;
    return (_told.told ? 1 : 0) | (events == max_io_events ? 2 : 0);
#else
    LIBZMQ_UNUSED (timeout_);
    zmq_assert (false);
    return 0;
#endif
}

zmq::fd_t zmq::io_thread_t::get_fd ()
{
    //  What came without a signal is told of by one.
    _mailbox.read_by (NULL);
    scoped_lock_t lock (_serving);
    for (watched_t::iterator it = _watched.begin (); it != _watched.end (); ++it) {
        it->first->read_by (NULL);
        it->first->read_by (&_runner);
    }
    _runner.has_sent = false;
#if defined ZMQ_IOTHREAD_POLLER_USE_EPOLL
    return _poller->get_fd ();
#else
    return retired_fd;
#endif
}

void zmq::io_thread_t::release (mailbox_t *socket_)
{
    scoped_lock_t lock (_serving);
    const std::pair<watched_t::iterator, watched_t::iterator> found =
      _watched.equal_range (socket_);
    for (watched_t::iterator it = found.first; it != found.second; ++it) {
        _poller->rm_fd (it->second.handle);
        if (it->second.fd != retired_fd)
            close (it->second.fd);
    }
    _watched.erase (found.first, found.second);
    socket_->read_by (NULL);
    if (_ending && _watched.empty () && !_started)
        start ();
}

void zmq::io_thread_t::start_when_free ()
{
    scoped_lock_t lock (_serving);
    _ending = true;
    if (_watched.empty () && !_started)
        start ();
}

void zmq::io_thread_t::start ()
{
    _mailbox.read_by (NULL);
    _started = true;",
        },
        Edit {
            old: "
    command_t cmd;
    int rc = _mailbox.recv (&cmd, 0);
",
            times: 1,
            new: "
    _mailbox.in_event ();
    command_t cmd;
    int rc = _mailbox.recv (&cmd, 0);
",
        },
    ],
};

pub const POLLER_H: Patch = Patch {
    file: "epoll.hpp",
    edits: &[Edit {
        old: "
    static int max_fds ();
",
        times: 1,
        new: "
    static int max_fds ();

    //  The two halves of a round of the loop. Timers: how long until the next, or 0.
    //  Events: waits no longer than for that, and for the timeout; how many there were.
    //  False when the loop ends.
    int run_timers ();
    bool wait (int until_timer_, int timeout_, int *events_);

    fd_t get_fd () const { return _epoll_fd; }
",
    }],
};

pub const MAILBOX_H: Patch = Patch {
    file: "mailbox.hpp",
    edits: &[
        Edit {
            old: "
#include \"i_mailbox.hpp\"
",
            times: 1,
            new: "
#include \"i_mailbox.hpp\"
#include \"i_poll_events.hpp\"
#include <atomic>
",
        },
        Edit {
            old: "
class mailbox_t ZMQ_FINAL : public i_mailbox
",
            times: 1,
            new: "
//  Who runs the I/O of a context: this thread or that, and one at a time.
class runner_t
{
  public:
    runner_t ();
    void set_to_this_thread ();
    bool is_this_thread () const;

    //  Its own mailbox, beside those of the sockets that it serves.
    const void *own;
    //  It has sent a command to one of these.
    bool has_sent;

  private:
    std::atomic<uint64_t> _thread;
};

class mailbox_t ZMQ_FINAL : public i_mailbox, public i_poll_events
",
        },
        Edit {
            old: "
    bool valid () const;
",
            times: 1,
            new: "
    bool valid () const;

    //  It is read by this runner, or by none. A runner needs no signal for what it has
    //  sent itself, and looks for the signal of somebody else when its poller tells of it.
    void read_by (runner_t *runner_);
    bool has_runner () const;
    bool has_commands () const;

    //  There is a signal.
    void in_event ();
    void out_event ();
    void timer_event (int id_);
",
        },
        Edit {
            old: "
    bool _active;
",
            times: 1,
            new: "
    bool _active;

    bool is_read_here () const;

    std::atomic<runner_t *> _runner;
    bool _signaled;
",
        },
    ],
};

/// What the owner of a socket asks.
pub const SOCKET: Patch = Patch {
    file: "socket_base.cpp",
    edits: &[
        Edit {
            old: "
    //  First, check whether specific socket type overloads the option.
    int rc = xsetsockopt (option_, optval_, optvallen_);",
            times: 1,
            new: "
    if (option_ == 19782) {
        io_thread_t *const io_thread = choose_io_thread (0);
        if (_thread_safe || !io_thread || io_thread->is_started ()
            || optvallen_ != sizeof (int)) {
            errno = EINVAL;
            return -1;
        }
        int fd;
        memcpy (&fd, optval_, sizeof fd);
        return io_thread->serve (static_cast<mailbox_t *> (_mailbox), fd);
    }

    //  First, check whether specific socket type overloads the option.
    int rc = xsetsockopt (option_, optval_, optvallen_);",
        },
        Edit {
            old: "
    //  First, check whether specific socket type overloads the option.
    int rc = xgetsockopt (option_, optval_, optvallen_);",
            times: 1,
            new: "
    if (option_ == 19783 || option_ == 19784) {
        io_thread_t *const io_thread = choose_io_thread (0);
        if (_thread_safe || !static_cast<mailbox_t *> (_mailbox)->has_runner ()
            || *optvallen_ != sizeof (int)) {
            errno = EINVAL;
            return -1;
        }
        int value;
        memcpy (&value, optval_, sizeof value);
        if (option_ == 19783)
            value = io_thread->run_once (value);
        else
            value = io_thread->get_fd ();
        memcpy (optval_, &value, sizeof value);
        return 0;
    }

    //  First, check whether specific socket type overloads the option.
    int rc = xgetsockopt (option_, optval_, optvallen_);",
        },
        Edit {
            old: "
    //  Mark the socket as dead
    _tag = 0xdeadbeef;
",
            times: 1,
            new: "
    //  Mark the socket as dead
    _tag = 0xdeadbeef;

    if (!_thread_safe && static_cast<mailbox_t *> (_mailbox)->has_runner ())
        choose_io_thread (0)->release (static_cast<mailbox_t *> (_mailbox));
",
        },
    ],
};
