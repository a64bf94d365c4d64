//! Values instead of bodies: a client of one service whose methods take and give what
//! serde can write and read. How that travels is said in docs/typed.md.

use std::fmt;
use std::marker::PhantomData;

use majordomo_protocol::{Body, Metadata};

use crate::call::{Call, Replies};
use crate::call_error::CallError;
use crate::client::Client;
use crate::dialog::Reply;
use crate::options::Options;
use crate::typed_error::{Details, TypedError};
use majordomo_protocol::payload::{Codec, Decode, Encode, PayloadError};

/// A [`Client`] of one service whose requests and replies are values.
///
/// Cheap to clone, and for any number of threads; see [`Client::typed`].
#[derive(Clone, Debug)]
pub struct TypedClient {
    client: Client,
    service: String,
    codec: Codec,
    options: Options,
}

impl Client {
    /// This client for calls of the methods of `service`, whose bodies have this format.
    ///
    #[cfg_attr(all(feature = "json", feature = "testing"), doc = "```")]
    #[cfg_attr(not(all(feature = "json", feature = "testing")), doc = "```ignore")]
    /// use majordomo_client::{Client, Codec, TypedError};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Add {
    ///     a: i64,
    ///     b: i64,
    /// }
    ///
    /// fn add(client: &Client, a: i64, b: i64) -> Result<i64, TypedError> {
    ///     client.typed("calc", Codec::Json).call("add", &Add { a, b })
    /// }
    ///
    /// # let broker = majordomo_client::testing::Script::new()
    /// #     .method("calc", Codec::Json, "add", &Add { a: 2, b: 3 }, &5)
    /// #     .start();
    /// # let client = broker.client();
    /// assert_eq!(add(&client, 2, 3)?, 5);
    /// # Ok::<(), TypedError>(())
    /// ```
    pub fn typed(&self, service: impl Into<String>, codec: Codec) -> TypedClient {
        let (client, service) = (self.clone(), service.into());
        TypedClient { client, service, codec, options: Options::default() }
    }
}

impl TypedClient {
    /// The same with options for every call. Their metadata goes along, behind the
    /// content type and the method.
    #[must_use = "it is a client of its own; this one stays as it is"]
    pub fn with(&self, options: Options) -> TypedClient {
        TypedClient { options, ..self.clone() }
    }

    /// The service it calls.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Calls a method and returns its reply; blocks at most until the deadline.
    ///
    /// `Rep` follows from what the reply is used for. [`Encoded`](crate::Encoded) as the
    /// request or as `Rep` is passed through unread.
    ///
    /// # Errors
    ///
    /// [`TypedError`]; a reply in parts is a [`TypedError::Decode`], see
    /// [`stream`](Self::stream).
    pub fn call<Rep: Decode>(
        &self,
        method: &str,
        request: &(impl Encode + ?Sized),
    ) -> Result<Rep, TypedError> {
        let replies = self.submit(method, request)?.replies();
        let mut replies = self.replies::<Rep>(method, replies);
        match replies.next_reply()? {
            Some(Reply::Final(body)) => replies.decode(body),
            Some(Reply::Partial(_)) => {
                Err(replies
                    .undecodable(PayloadError::new("it comes in parts; read it by stream()")))
            }
            None => Err(TypedError::Call(CallError::Closed { may_have_run: true })),
        }
    }

    /// Calls a method whose reply is any number of values.
    ///
    /// # Errors
    ///
    /// [`TypedError::Encode`], [`TypedError::Metadata`], and those of
    /// [`Client::submit`]; the stream gives the others.
    ///
    #[cfg_attr(all(feature = "json", feature = "testing"), doc = "```")]
    #[cfg_attr(not(all(feature = "json", feature = "testing")), doc = "```ignore")]
    /// # use majordomo_client::{Codec, TypedError};
    /// # let broker = majordomo_client::testing::Script::new()
    /// #     .parts("calc", "4", ["1", "2", "4"], "")
    /// #     .start();
    /// # let client = broker.client();
    /// let divisors = client.typed("calc", Codec::Json).stream::<u64>("divisors", &4)?;
    /// assert_eq!(divisors.collect::<Result<Vec<_>, _>>()?, [1, 2, 4]);
    /// # Ok::<(), TypedError>(())
    /// ```
    pub fn stream<Rep: Decode>(
        &self,
        method: &str,
        request: &(impl Encode + ?Sized),
    ) -> Result<TypedReplies<Rep>, TypedError> {
        let replies = self.submit(method, request)?.replies();
        Ok(self.replies(method, replies))
    }

    /// Calls a method and wants no answer, not even an error; see [`Client::send`].
    ///
    /// # Errors
    ///
    /// As [`TypedClient::stream`].
    pub fn send(&self, method: &str, request: &(impl Encode + ?Sized)) -> Result<(), TypedError> {
        let (body, options) = self.request(method, request)?;
        self.client.send_with(&self.service, body, &options).map_err(TypedError::Call)
    }

    fn submit(&self, method: &str, request: &(impl Encode + ?Sized)) -> Result<Call, TypedError> {
        let (body, options) = self.request(method, request)?;
        self.client.submit_with(&self.service, body, &options).map_err(TypedError::Call)
    }

    fn request(
        &self,
        method: &str,
        request: &(impl Encode + ?Sized),
    ) -> Result<(Body, Options), TypedError> {
        let codec = self.codec;
        let body = request.encode(codec).map_err(|source| TypedError::Encode {
            service: self.service.as_str().into(),
            method: method.into(),
            codec,
            source,
        })?;
        // Ours first: the first value of a key counts.
        let mut metadata = Metadata::default();
        metadata.push("content-type", codec.content_type().as_bytes())?;
        metadata.push("method", method.as_bytes())?;
        for (key, value) in self.options.metadata.iter() {
            metadata.push(key, value)?;
        }
        Ok((body, self.options.clone().metadata(metadata)))
    }

    fn replies<Rep>(&self, method: &str, replies: Replies) -> TypedReplies<Rep> {
        let (service, method) = (self.service.as_str().into(), method.into());
        TypedReplies { replies, service, method, codec: self.codec, ended: false, of: PhantomData }
    }
}

/// The values of a reply as they come; see [`TypedClient::stream`].
///
/// Each item blocks until it has come. The iterator ends after an error, after a value
/// that is the last, or at an empty last part. Dropped before that, it cancels the call.
#[must_use = "dropping it cancels the call"]
pub struct TypedReplies<Rep> {
    replies: Replies,
    service: Box<str>,
    method: Box<str>,
    codec: Codec,
    ended: bool,
    of: PhantomData<fn() -> Rep>,
}

impl<Rep: Decode> TypedReplies<Rep> {
    fn next_reply(&mut self) -> Result<Option<Reply>, TypedError> {
        self.replies.next().transpose().map_err(|error| match error {
            CallError::Remote { code, text, details, .. } => {
                let details = Details::new(self.codec, details);
                let (service, method) = (self.service.clone(), self.method.clone());
                TypedError::Remote { service, method, code, kind: details.kind(), text, details }
            }
            error => TypedError::Call(error),
        })
    }

    fn decode(&self, body: Body) -> Result<Rep, TypedError> {
        Rep::decode(self.codec, body).map_err(|source| self.undecodable(source))
    }

    fn undecodable(&self, source: PayloadError) -> TypedError {
        let (service, method) = (self.service.clone(), self.method.clone());
        TypedError::Decode { service, method, source }
    }

    fn next_value(&mut self) -> Result<Option<Rep>, TypedError> {
        let value = match self.next_reply()? {
            Some(Reply::Partial(body)) => return self.decode(body).map(Some),
            Some(Reply::Final(body)) if body.size() > 0 => self.decode(body).map(Some)?,
            Some(Reply::Final(_)) | None => None,
        };
        self.ended = true;
        Ok(value)
    }
}

impl<Rep: Decode> Iterator for TypedReplies<Rep> {
    type Item = Result<Rep, TypedError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_value();
        self.ended |= next.is_err();
        next.transpose()
    }
}

impl<Rep: Decode> std::iter::FusedIterator for TypedReplies<Rep> {}

impl<Rep> fmt::Debug for TypedReplies<Rep> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedReplies")
            .field("service", &self.service)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}
