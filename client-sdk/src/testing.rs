//! A double for tests of code that calls services: a broker in this process that
//! answers from a [`Script`]. The code under test uses the real [`Client`], so that what
//! is tested is what runs: its encoding, its limits, its errors.
//!
//! ```
//! use majordomo_client::testing::Script;
//! use majordomo_client::{CallError, Client};
//!
//! /// What is to be tested.
//! fn greet(client: &Client, name: &str) -> Result<String, CallError> {
//!     let reply = client.call("greet", name)?;
//!     Ok(String::from_utf8_lossy(&reply.into_bytes()).into_owned())
//! }
//!
//! let broker = Script::new()
//!     .reply("greet", "Ada", "Hello, Ada!")
//!     .error("greet", "", 400, "no name")
//!     .start();
//! let client = broker.client();
//! assert_eq!(greet(&client, "Ada")?, "Hello, Ada!");
//! assert!(matches!(greet(&client, ""), Err(CallError::Remote { code: 400, .. })));
//! # Ok::<(), CallError>(())
//! ```

mod broker;

use majordomo_protocol::{Body, Reason};

pub use self::broker::ScriptedBroker;
#[cfg(doc)]
use crate::client::Client;
#[cfg(any(feature = "json", feature = "msgpack"))]
use majordomo_protocol::payload::{Codec, Encode};

/// What will be asked, and the answers.
///
/// Each step is for one request and answers it once, however often the client tries.
/// Requests may come in any order; of equal ones the first gets the first answer. What
/// no step expects is answered with error 501, and fails the test at the
/// [end](ScriptedBroker).
#[derive(Clone, Debug, Default)]
#[must_use = "a script does nothing until it is started"]
pub struct Script(Vec<Step>);

#[derive(Clone, Debug)]
struct Step {
    service: String,
    /// The method that the metadata must name; `None`: whatever it says.
    method: Option<String>,
    body: Body,
    answer: Answer,
}

#[derive(Clone, Debug)]
enum Answer {
    Reply { parts: Vec<Body>, last: Body },
    Error { reason: Reason, details: Body },
    Silence,
}

impl Script {
    /// A script that expects nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// This request gets this reply.
    pub fn reply(
        self,
        service: impl Into<String>,
        request: impl Into<Body>,
        reply: impl Into<Body>,
    ) -> Self {
        self.parts(service, request, [] as [Body; 0], reply)
    }

    /// This request gets a reply in parts.
    pub fn parts<P: Into<Body>>(
        self,
        service: impl Into<String>,
        request: impl Into<Body>,
        parts: impl IntoIterator<Item = P>,
        last: impl Into<Body>,
    ) -> Self {
        let parts = parts.into_iter().map(Into::into).collect();
        self.step(service, None, request.into(), Answer::Reply { parts, last: last.into() })
    }

    /// This request gets an error. The [codes of the broker][codes] make
    /// the client do what it does when a broker says so: with 404 it is
    /// [`CallError::NoWorker`](crate::CallError::NoWorker), with 429 it is tried again.
    ///
    /// [codes]: majordomo_protocol::code
    pub fn error(
        self,
        service: impl Into<String>,
        request: impl Into<Body>,
        code: u16,
        text: impl Into<String>,
    ) -> Self {
        let reason = Reason { code, text: text.into() };
        self.step(service, None, request.into(), Answer::Error { reason, details: "".into() })
    }

    /// This request gets no answer: to test what happens at a deadline.
    pub fn silence(self, service: impl Into<String>, request: impl Into<Body>) -> Self {
        self.step(service, None, request.into(), Answer::Silence)
    }

    /// A call of this method with this value gets this reply.
    ///
    /// # Panics
    ///
    /// When a value has no encoding.
    #[cfg(any(feature = "json", feature = "msgpack"))]
    pub fn method(
        self,
        service: impl Into<String>,
        codec: Codec,
        method: impl Into<String>,
        request: &(impl Encode + ?Sized),
        reply: &(impl Encode + ?Sized),
    ) -> Self {
        let [request, last] = [encoded(codec, request), encoded(codec, reply)];
        let answer = Answer::Reply { parts: Vec::new(), last };
        self.step(service, Some(method.into()), request, answer)
    }

    /// A call of this method with this value gets an error; see [`Script::error`]. Of the
    /// `details` that travel, `kind` and `details` are members.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use majordomo_client::{Codec, TypedError, testing::Script};
    ///
    /// let details = serde_json::json!({"kind": "overdrawn", "details": {"missing": 20}});
    /// let broker = Script::new()
    ///     .method_error("bank", Codec::Json, "pay", &50, 500, "20 are missing", &details)
    ///     .start();
    /// let error = broker.client().typed("bank", Codec::Json).call::<()>("pay", &50).unwrap_err();
    /// assert_eq!(error.to_string(), "bank.pay failed with 500 (overdrawn): 20 are missing");
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// When a value has no encoding.
    #[cfg(any(feature = "json", feature = "msgpack"))]
    #[expect(clippy::too_many_arguments, reason = "a call, and an error, are told in full")]
    pub fn method_error(
        self,
        service: impl Into<String>,
        codec: Codec,
        method: impl Into<String>,
        request: &(impl Encode + ?Sized),
        code: u16,
        text: impl Into<String>,
        details: &(impl Encode + ?Sized),
    ) -> Self {
        let [request, details] = [encoded(codec, request), encoded(codec, details)];
        let answer = Answer::Error { reason: Reason { code, text: text.into() }, details };
        self.step(service, Some(method.into()), request, answer)
    }

    fn step(
        mut self,
        service: impl Into<String>,
        method: Option<String>,
        body: Body,
        answer: Answer,
    ) -> Self {
        self.0.push(Step { service: service.into(), method, body, answer });
        self
    }

    /// Starts a broker that answers so, on a thread of its own and a free port of this
    /// machine.
    ///
    /// # Panics
    ///
    /// When the system gives no socket or thread.
    pub fn start(self) -> ScriptedBroker {
        ScriptedBroker::start(self.0)
    }
}

#[cfg(any(feature = "json", feature = "msgpack"))]
fn encoded(codec: Codec, value: &(impl Encode + ?Sized)) -> Body {
    match value.encode(codec) {
        Ok(body) => body,
        Err(error) => panic!("a value of the script cannot be encoded as {codec}: {error}"),
    }
}
