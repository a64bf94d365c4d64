//! What is changed in libzmq: pieces of text, each of which must be found as often as is
//! said here. libzmq's files are under the MPL 2.0, and so are these changes to them.

use std::fs;
use std::path::Path;

/// The changes to one source file.
pub struct Patch {
    /// Its name, in libzmq's `src`.
    pub file: &'static str,
    edits: &'static [Edit],
}

struct Edit {
    old: &'static str,
    /// How often the old text is there.
    times: usize,
    new: &'static str,
}

pub const PATCHES: [Patch; 6] = [ROUTING_IDS, WHOLE_MESSAGES, PROPERTIES, MAILBOX, OUTPUT, POLLER];

/// A ROUTER socket gives ids that begin with a zero octet, which RFC 23 keeps for that. A
/// peer that announces such an id is given one, as if it had announced none; and no id is
/// given that somebody has. libzmq would end the process at the second of two equal ids.
/// An id of more than the 255 octets of RFC 23 is none either: it would be kept, and come
/// with each message of its peer.
const ROUTING_IDS: Patch = Patch {
    file: "router.cpp",
    edits: &[
        Edit {
            old: "if (msg.size () == 0) {",
            times: 1,
            new: "
        if (msg.size () == 0 || msg.size () > 255
            || *static_cast<unsigned char *> (msg.data ()) == 0) {",
        },
        Edit {
            old: "put_uint32 (buf + 1, _next_integral_routing_id++);",
            times: 3,
            new: "
            do
                put_uint32 (buf + 1, _next_integral_routing_id++);
            while (has_out_pipe (blob_t (buf, sizeof buf, reference_tag_t ())));",
        },
    ],
};

/// ZMQ_MAXMSGSIZE holds for the message under way, and not for each of its frames alone:
/// libzmq keeps the frames of a message until its last one has come. A frame counts for
/// what it takes beside its bytes, too. Small ones of a long message are copied: where
/// they came in, each could keep a whole buffer of 8 KiB.
///
/// Commands are left to the base class, which drops them; and the routing id, since libzmq
/// ends the process when it is refused.
const WHOLE_MESSAGES: Patch = Patch {
    file: "session_base.cpp",
    edits: &[
        Edit {
            old: "zmq::session_base_t *zmq::session_base_t::create (",
            times: 1,
            new: "
namespace
{
class bounded_session_t ZMQ_FINAL : public zmq::session_base_t
{
  public:
    bounded_session_t (zmq::io_thread_t *io_thread_,
                       bool active_,
                       zmq::socket_base_t *socket_,
                       const zmq::options_t &options_,
                       zmq::address_t *addr_) :
        session_base_t (io_thread_, active_, socket_, options_, addr_), _held (0)
    {
    }

    int push_msg (zmq::msg_t *msg_) ZMQ_OVERRIDE
    {
        const bool command = (msg_->flags () & zmq::msg_t::command) != 0
                             && !msg_->is_subscribe () && !msg_->is_cancel ();
        const bool more = (msg_->flags () & zmq::msg_t::more) != 0;
        const bool single = !more && _held == 0;
        if (options.maxmsgsize < 0 || command || single || msg_->is_routing_id ())
            return session_base_t::push_msg (msg_);

        const uint64_t held = _held + msg_->size () + bytes_per_frame;
        if (held > static_cast<uint64_t> (options.maxmsgsize)) {
            errno = EMSGSIZE;
            return -1;
        }
        if (held > shared_bytes_max && msg_->is_zcmsg () && detach (msg_) == -1)
            return -1;
        const int rc = session_base_t::push_msg (msg_);
        if (rc == 0)
            _held = more ? held : 0;
        return rc;
    }

    void reset () ZMQ_OVERRIDE
    {
        session_base_t::reset ();
        _held = 0;
    }

  private:
    enum
    {
        bytes_per_frame = 128,
        shared_bytes_max = 65536
    };

    static int detach (zmq::msg_t *msg_)
    {
        zmq::msg_t own;
        if (own.init_size (msg_->size ()) == -1)
            return -1;
        memcpy (own.data (), msg_->data (), msg_->size ());
        own.set_flags (msg_->flags ());
        if (msg_->metadata ())
            own.set_metadata (msg_->metadata ());
        return msg_->move (own);
    }

    //  What the message under way takes so far.
    uint64_t _held;
};
}

zmq::session_base_t *zmq::session_base_t::create (",
        },
        Edit {
            old: "
              session_base_t (io_thread_, active_, socket_, options_, addr_);",
            times: 1,
            new: "
              bounded_session_t (io_thread_, active_, socket_, options_, addr_);",
        },
    ],
};

/// Whoever looks for commands without waiting reads the signal, and is told by that if
/// there is none: libzmq asks first whether it may. And whoever has taken the last command
/// does not look again: each further one comes with a signal.
const MAILBOX: Patch = Patch {
    file: "mailbox.cpp",
    edits: &[
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
    }",
        },
        Edit {
            old: "int rc = _signaler.wait (timeout_);",
            times: 1,
            new: "int rc = timeout_ == 0 ? 0 : _signaler.wait (timeout_);",
        },
    ],
};

/// A message is written when it comes, and the system asked to tell when more can be
/// written only if that was not all. libzmq asks in any case, is told at once, finds
/// nothing to write, and takes it back: three system calls for each message that travels
/// alone.
const OUTPUT: Patch = Patch {
    file: "stream_engine_base.cpp",
    edits: &[
        Edit {
            old: "
        set_pollout ();
        _output_stopped = false;
    }",
            times: 1,
            new: "
        _output_stopped = false;
        //  The second time there is nothing more, or what has come meanwhile.
        for (int times = 0; times < 2 && !_outsize && !_output_stopped; times++) {
            errno = 0;
            out_event ();
            //  A ws_engine is deleted then.
            if (errno == ECONNRESET)
                return;
        }
        if (!_outsize && !_output_stopped)
            set_pollout ();
        return;
    }",
        },
        Edit {
            old: "
    _outsize -= nbytes;
",
            times: 1,
            new: "
    _outsize -= nbytes;
    if (_outsize > 0)
        set_pollout ();
",
        },
    ],
};

/// The system is not told what it knows.
const POLLER: Patch = Patch {
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
    ],
};

/// Of what a peer says of itself in its handshake no more is kept than sixteen properties of
/// 255 bytes each: libzmq keeps any number of any size, in several copies, as long as the
/// connection lives, and with CURVE before it is known who that is. A longer routing id,
/// which is one of them, is none. What the ZAP handler says is kept whole.
const PROPERTIES: Patch = Patch {
    file: "mechanism.cpp",
    edits: &[
        Edit {
            old: "set_peer_routing_id (value, value_length);",
            times: 1,
            new: "set_peer_routing_id (value, value_length <= 255 ? value_length : 0);",
        },
        Edit {
            old: "(zap_flag_ ? _zap_properties : _zmtp_properties)",
            times: 1,
            new: "
        if (zap_flag_ || (value_length <= 255 && _zmtp_properties.size () < 16))
            (zap_flag_ ? _zap_properties : _zmtp_properties)",
        },
    ],
};

impl Patch {
    /// The text of this file of libzmq, changed.
    pub fn apply(&self, source: &Path) -> String {
        let read = fs::read_to_string(source);
        let mut text = read.unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        for Edit { old, times, new } in self.edits {
            let found = text.matches(old).count();
            assert!(
                found == *times,
                "{} has {found} times, and not {times} times:\n{old}\nIt is another libzmq than \
                 zmq-sys/patches.rs was written for: see whether it still needs the changes there",
                source.display(),
            );
            text = text.replace(old, new);
        }
        text
    }
}
