//! What peers can do to a socket, and what it tells of them.

use super::{Edit, Patch};

/// A ROUTER socket gives ids that begin with a zero octet, which RFC 23 keeps for that. A
/// peer that announces such an id is given one, as if it had announced none; and no id is
/// given that somebody has. libzmq would end the process at the second of two equal ids.
/// An id of more than the 255 octets of RFC 23 is none either: it would be kept, and come
/// with each message of its peer. Nor is one that another peer has: libzmq never reads from
/// the second, and never frees what it holds for it, which nobody would be told of.
///
/// Two options are added, with numbers that libzmq does not use.
///
/// 19780 (an int, 0 or 1; before binding): tells when a connection has passed its handshake
/// and when it has ended, each by an empty message in the order of what the peer sends. The
/// property `__notification` of that message says which: `connect` or `disconnect`. No
/// message of a peer has this property. It is not ZMQ_ROUTER_NOTIFY, which a libzmq with
/// drafts takes without marking anything.
///
/// 19781 (a routing id): ends the connection of this peer at once. What waits for it, and
/// what it said and is not yet read, is dropped, but for a message that is being read. It
/// fails with EHOSTUNREACH when there is none.
pub const ROUTER: Patch = Patch {
    file: "router.cpp",
    edits: &[
        Edit {
            old: "if (msg.size () == 0) {",
            times: 1,
            new: "
        if (msg.size () == 0 || msg.size () > 255
            || *static_cast<unsigned char *> (msg.data ()) == 0
            || (!_handover
                && has_out_pipe (
                  blob_t (static_cast<unsigned char *> (msg.data ()),
                          msg.size (), reference_tag_t ())))) {",
        },
        Edit {
            old: "int zmq::router_t::xsetsockopt (",
            times: 1,
            new: "
//  A hiccup has the session end its connection: see session_base.cpp. The
//  peer of an inproc pipe is no session, and would not understand it.
static void end_connection (zmq::pipe_t *pipe_)
{
    if (pipe_->get_endpoint_pair ().local_type == zmq::endpoint_type_bind)
        pipe_->hiccup ();
    pipe_->terminate (false);
}

int zmq::router_t::xsetsockopt (",
        },
        Edit {
            old: "        case ZMQ_ROUTER_RAW:",
            times: 1,
            new: "
        case 19780:
            if (is_int && (value == 0 || value == 1)) {
                options.router_notify =
                  value ? ZMQ_NOTIFY_CONNECT | ZMQ_NOTIFY_DISCONNECT : 0;
                return 0;
            }
            break;

        case 19781: {
            if (optvallen_ == 0)
                break;
            const out_pipe_t *const found = lookup_out_pipe (blob_t (
              static_cast<unsigned char *> (const_cast<void *> (optval_)),
              optvallen_, reference_tag_t ()));
            if (!found) {
                errno = EHOSTUNREACH;
                return -1;
            }
            if (found->pipe == _current_in)
                _terminate_current_in = true;
            else
                end_connection (found->pipe);
            return 0;
        }

        case ZMQ_ROUTER_RAW:",
        },
        Edit {
            old: "_current_in->terminate (true);",
            times: 2,
            new: "end_connection (_current_in);",
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
///
/// A session ends its connection when the socket sends it a hiccup, which otherwise goes
/// the other way only.
pub const SESSION: Patch = Patch {
    file: "session_base.cpp",
    edits: &[
        Edit {
            old: "
    //  Hiccups are always sent from session to socket, not the other
    //  way round.
    zmq_assert (false);",
            times: 1,
            new: "
    if (_engine) {
        _engine->terminate ();
        _engine = NULL;
    }
    if (_pipe)
        _pipe->terminate (false);
    terminate ();",
        },
        Edit {
            old: "
    if (_pipe)
        _pipe->rollback ();
}",
            times: 1,
            new: "
    if (_pipe)
        _pipe->rollback ();
    //  The message under way counts no more.
    reset ();
}",
        },
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

/// Of what a peer says of itself in its handshake no more is kept than sixteen properties of
/// 255 bytes each: libzmq keeps any number of any size, in several copies, as long as the
/// connection lives, and with CURVE before it is known who that is. A longer routing id,
/// which is one of them, is none. What the ZAP handler says is kept whole.
pub const PROPERTIES: Patch = Patch {
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

/// What tells of the end of a connection is let into a queue that is full: it is the last,
/// and would be missed. And a session gets the hiccup that ends its connection though it
/// has read already that nothing more is for its peer.
pub const PIPE: Patch = Patch {
    file: "pipe.cpp",
    edits: &[
        Edit {
            old: "
    if (unlikely (!check_write ()))
        return false;
",
            times: 1,
            new: "
    if (unlikely (!check_write ())
        && (_state != active || !msg_->metadata ()
            || !msg_->metadata ()->get (\"__notification\")))
        return false;
",
        },
        Edit {
            old: "
    if (_state == active)
        _sink->hiccuped (this);",
            times: 1,
            new: "
    if (_state == active
        || (_state == delimiter_received
            && _endpoint_pair.local_type == endpoint_type_bind))
        _sink->hiccuped (this);",
        },
    ],
};

/// Tells of connections: see [`ROUTER`]. libzmq has code for it that knows nothing of the
/// connection, cannot be told from a peer's own message, and takes a connection of an old
/// version for one that has passed its handshake.
///
/// And a message is written when it comes, and the system asked to tell when more can be
/// written only if that was not all. libzmq asks in any case, is told at once, finds
/// nothing to write, and takes it back: three system calls for each message that travels
/// alone.
pub const ENGINE: Patch = Patch {
    file: "stream_engine_base.cpp",
    edits: &[
        Edit {
            old: "static std::string get_peer_address (",
            times: 1,
            new: "
//  No peer may have it among the properties that it announces.
static const char notification_property[] = \"__notification\";

//  Only what this side knows is told, and nothing that the peer announced.
static void notify (zmq::session_base_t *session_,
                    const zmq::metadata_t *connection_,
                    const char *what_)
{
    zmq::metadata_t::dict_t told;
    told[notification_property] = what_;
    const char *const names[] = {ZMQ_MSG_PROPERTY_USER_ID,
                                 ZMQ_MSG_PROPERTY_PEER_ADDRESS};
    for (size_t i = 0; i != sizeof names / sizeof names[0]; ++i)
        if (const char *const value = connection_->get (names[i]))
            told[names[i]] = value;
    zmq::metadata_t *const metadata = new (std::nothrow) zmq::metadata_t (told);
    alloc_assert (metadata);

    zmq::msg_t msg;
    int rc = msg.init ();
    errno_assert (rc == 0);
    msg.set_metadata (metadata);
    const bool dropped = metadata->drop_ref ();
    zmq_assert (!dropped);
    //  It fails where the socket has ended the connection, and knows.
    rc = session_->push_msg (&msg);
    if (rc == -1) {
        rc = msg.close ();
        errno_assert (rc == 0);
    }
}

static std::string get_peer_address (",
        },
        Edit {
            old: "
    if (_options.router_notify & ZMQ_NOTIFY_CONNECT) {
        msg_t connect_notification;
        connect_notification.init ();
        const int rc = _session->push_msg (&connect_notification);
        if (rc == -1 && errno == EAGAIN) {
            // If the write is failing at this stage with
            // an EAGAIN the pipe must be being shut down,
            // so we can just bail out of the notification.
            return;
        }
        errno_assert (rc == 0);
        flush_session = true;
    }
",
            times: 1,
            new: "",
        },
        Edit {
            old: "
    zmq_assert (_metadata == NULL);
    if (!properties.empty ()) {
        _metadata = new (std::nothrow) metadata_t (properties);
        alloc_assert (_metadata);
    }
",
            times: 1,
            new: "
    zmq_assert (_metadata == NULL);
    properties.erase (notification_property);
    if (!properties.empty ()) {
        _metadata = new (std::nothrow) metadata_t (properties);
        alloc_assert (_metadata);
    }

    if ((_options.router_notify & ZMQ_NOTIFY_CONNECT) && _metadata) {
        notify (_session, _metadata, \"connect\");
        _session->flush ();
    }
",
        },
        Edit {
            old: "
    if ((_options.router_notify & ZMQ_NOTIFY_DISCONNECT) && !_handshaking) {",
            times: 1,
            new: "
    if ((_options.router_notify & ZMQ_NOTIFY_DISCONNECT) && _metadata) {",
        },
        Edit {
            old: "
        msg_t disconnect_notification;
        disconnect_notification.init ();
        _session->push_msg (&disconnect_notification);",
            times: 1,
            new: "
        notify (_session, _metadata, \"disconnect\");",
        },
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
