//! How threads wake each other, and how the system wakes them: no call that can be spared.

use super::{Edit, Patch};

/// Whoever looks for commands without waiting reads the signal, and is told by that if
/// there is none: libzmq asks first whether it may. And whoever has taken the last command
/// does not look again: each further one comes with a signal.
///
/// The rest is for [`caller`](super::caller).
pub const MAILBOX: Patch = Patch {
    file: "mailbox.cpp",
    edits: &[
        Edit {
            old: "
zmq::mailbox_t::mailbox_t ()
{",
            times: 1,
            new: "
//  Which thread this is; 0 is none.
static uint64_t this_thread ()
{
    static std::atomic<uint64_t> threads (0);
    static thread_local uint64_t number = 0;
    if (!number)
        number = ++threads;
    return number;
}

zmq::runner_t::runner_t () : own (NULL), has_sent (false), _thread (0)
{
}

void zmq::runner_t::set_to_this_thread ()
{
    _thread.store (this_thread (), std::memory_order_relaxed);
}

bool zmq::runner_t::is_this_thread () const
{
    return _thread.load (std::memory_order_relaxed) == this_thread ();
}

bool zmq::mailbox_t::is_read_here () const
{
    const runner_t *const runner = _runner.load (std::memory_order_relaxed);
    return runner && runner->is_this_thread ();
}

void zmq::mailbox_t::read_by (runner_t *runner_)
{
    _runner.store (runner_, std::memory_order_relaxed);
    //  They came without a signal, for which others wait.
    if (!runner_ && _active) {
        _active = false;
        _signaler.send ();
    }
}

bool zmq::mailbox_t::has_runner () const
{
    return _runner.load (std::memory_order_relaxed) != NULL;
}

bool zmq::mailbox_t::has_commands () const
{
    return _active;
}

void zmq::mailbox_t::in_event ()
{
    _signaled = true;
}

void zmq::mailbox_t::out_event ()
{
}

void zmq::mailbox_t::timer_event (int)
{
}

zmq::mailbox_t::mailbox_t () : _runner (NULL), _signaled (false)
{",
        },
        Edit {
            old: "
    if (!ok)
        _signaler.send ();",
            times: 1,
            new: "
    if (!ok) {
        if (is_read_here ()) {
            runner_t *const runner = _runner.load (std::memory_order_relaxed);
            _active = true;
            runner->has_sent = runner->has_sent || this != runner->own;
        } else
            _signaler.send ();
    }",
        },
        Edit {
            old: "
        _active = false;
    }",
            times: 1,
            new: "
        _active = false;
        if (timeout_ == 0) {
            errno = EAGAIN;
            return -1;
        }
    }

    if (timeout_ == 0 && !_signaled && is_read_here ()) {
        errno = EAGAIN;
        return -1;
    }
    _signaled = false;",
        },
        Edit {
            old: "int rc = _signaler.wait (timeout_);",
            times: 1,
            new: "int rc = timeout_ == 0 ? 0 : _signaler.wait (timeout_);",
        },
    ],
};

/// The system is not told what it knows. And a round of the loop is a function: see
/// [`caller`](super::caller).
pub const POLLER: Patch = Patch {
    file: "epoll.cpp",
    edits: &[
        Edit {
            old: "
    pe->ev.events |= EPOLLOUT;",
            times: 1,
            new: "
    if (pe->ev.events & EPOLLOUT)
        return;
    pe->ev.events |= EPOLLOUT;",
        },
        Edit {
            old: "
    pe->ev.events &= ~(static_cast<uint32_t> (EPOLLOUT));",
            times: 1,
            new: "
    if (!(pe->ev.events & EPOLLOUT))
        return;
    pe->ev.events &= ~(static_cast<uint32_t> (EPOLLOUT));",
        },
        Edit {
            old: "
void zmq::epoll_t::loop ()
{
    epoll_event ev_buf[max_io_events];

    while (true) {
        //  Execute any due timers.
        const int timeout = static_cast<int> (execute_timers ());
",
            times: 1,
            new: "
void zmq::epoll_t::loop ()
{
    int events;
    while (wait (run_timers (), -1, &events)) {
    }
}

int zmq::epoll_t::run_timers ()
{
    return static_cast<int> (execute_timers ());
}

bool zmq::epoll_t::wait (int until_timer_, int timeout_, int *events_)
{
    epoll_event ev_buf[max_io_events];

    {
        int timeout = until_timer_;
",
        },
        Edit {
            old: "
            if (timeout == 0)
                break;

            // TODO sleep for timeout
            continue;
        }
",
            times: 1,
            new: "
            return timeout != 0;
        }
        if (timeout == 0)
            timeout = -1;
        if (timeout_ != -1 && (timeout == -1 || timeout_ < timeout))
            timeout = timeout_;
",
        },
        Edit {
            old: "
                                  timeout ? timeout : -1);
        if (n == -1) {
            errno_assert (errno == EINTR);
            continue;
        }
",
            times: 1,
            new: "
                                  timeout);
        if (n == -1) {
            errno_assert (errno == EINTR);
            return true;
        }
        *events_ = n;
",
        },
        Edit {
            old: "
        _retired.clear ();
    }
}",
            times: 1,
            new: "
        _retired.clear ();
    }
    return true;
}",
        },
    ],
};
