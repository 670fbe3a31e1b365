//! The asking side of HTTP on this machine: what the commands use.
//!
//! The rule: one connection a request, JSON in and out, and three ways to fail that a command
//! tells apart: nobody answers ([`ClientError::Unreachable`], exit code 3), the service says no
//! ([`ClientError::Problem`]), or the conversation itself breaks. An answer is bounded in size and
//! time, so a command never hangs on a service that does.

use std::{
    io,
    net::SocketAddr,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::http::{
    HeaderValue, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::{BODY_BYTES_MAX, IDEMPOTENCY_KEY, Problem, problem, socket_path::ShortPath};
use crate::token::Token;

/// Longer than the server takes before it gives up itself, so that its reason arrives.
const ANSWER: Duration = Duration::from_secs(130);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there: the service must be started.
    #[error("no service answers at {0}: is it running?")]
    Unreachable(String),
    /// The service understood and refused: the problem says why, and its type may be compared.
    #[error(transparent)]
    Problem(Problem),
    /// The service took the request and said nothing: it is stuck, or the machine overloaded.
    #[error("{at} takes requests and does not answer within {} s", within.as_secs())]
    Silent { at: String, within: Duration },
    /// The conversation broke: trying again may help.
    #[error("asking {at}: {why}")]
    Broken { at: String, why: String },
}

#[derive(Clone, Debug)]
pub struct Client {
    at: At,
    patience: Duration,
    key: Option<String>,
}

/// What becomes of a good answer's body.
enum Take<'e> {
    Whole,
    Pieces(&'e mut (dyn FnMut(&[u8]) -> ControlFlow<()> + Send)),
}

#[derive(Clone, Debug)]
enum At {
    Tcp { address: SocketAddr, token: Token },
    Unix { path: PathBuf },
}

impl Client {
    pub fn tcp(address: SocketAddr, token: Token) -> Self {
        Self { at: At::Tcp { address, token }, patience: ANSWER, key: None }
    }

    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self { at: At::Unix { path: path.into() }, patience: ANSWER, key: None }
    }

    /// Waits no longer than this for an answer.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Requests carry this idempotency key: asked again, the service does what it did the first time.
    #[must_use]
    pub fn keyed(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.ask(Method::GET, path, None).await?;
        self.read(&answer)
    }

    pub async fn get_bytes(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        Ok(self.ask(Method::GET, path, None).await?.into())
    }

    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = self.json(body)?;
        let answer = self.ask(Method::POST, path, Some(("application/json", body))).await?;
        self.read(&answer)
    }

    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = self.json(body)?;
        let answer = self.ask(Method::PUT, path, Some(("application/json", body))).await?;
        self.read(&answer)
    }

    pub async fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<T, ClientError> {
        let body = Some(("application/octet-stream", body.into()));
        let answer = self.ask(Method::POST, path, body).await?;
        self.read(&answer)
    }

    pub async fn put_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<T, ClientError> {
        let body = Some(("application/octet-stream", body.into()));
        let answer = self.ask(Method::PUT, path, body).await?;
        self.read(&answer)
    }

    fn json(&self, body: &impl Serialize) -> Result<Bytes, ClientError> {
        let text = serde_json::to_vec(body).map_err(|error| self.broken(&error))?;
        Ok(text.into())
    }

    /// An empty answer (204) reads as JSON's `null`, which is `()`.
    fn read<T: DeserializeOwned>(&self, answer: &[u8]) -> Result<T, ClientError> {
        let text = if answer.is_empty() { b"null" } else { answer };
        serde_json::from_slice(text).map_err(|error| self.broken(&error))
    }

    /// Hands the answer's pieces to `each` as they come, however many there are, until it has had enough;
    /// none of them is waited for longer than the client's patience.
    pub async fn stream(
        &self,
        path: &str,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()> + Send,
    ) -> Result<(), ClientError> {
        self.converse(Method::GET, path, None, Take::Pieces(&mut each)).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Bytes, ClientError> {
        self.in_time(self.converse(method, path, body, Take::Whole)).await?
    }

    async fn in_time<T>(&self, asking: impl Future<Output = T>) -> Result<T, ClientError> {
        let silent = |_| ClientError::Silent { at: self.place(), within: self.patience };
        tokio::time::timeout(self.patience, asking).await.map_err(silent)
    }

    async fn converse(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
        take: Take<'_>,
    ) -> Result<Bytes, ClientError> {
        let request = self.request(method, path, body)?;
        match &self.at {
            At::Tcp { address, .. } => {
                let stream = self.in_time(TcpStream::connect(address)).await?;
                let stream = stream.map_err(|error| self.no_connection(&error))?;
                self.talk(stream, request, take).await
            }
            At::Unix { path: socket } => {
                let stream = self.in_time(connect_unix(socket)).await?;
                let stream = stream.map_err(|error| self.no_connection(&error))?;
                self.talk(stream, request, take).await
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder().method(method).uri(path);
        match &self.at {
            At::Tcp { address, token } => {
                let token = HeaderValue::try_from(format!("Bearer {}", token.as_str()));
                let mut token = token.map_err(|error| self.broken(&error))?;
                token.set_sensitive(true);
                request = request.header(AUTHORIZATION, token).header(HOST, address.to_string());
            }
            At::Unix { .. } => request = request.header(HOST, "localhost"),
        }
        if let Some(key) = &self.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        let (kind, body) = match body {
            Some((kind, body)) => (Some(kind), body),
            None => (None, Bytes::new()),
        };
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        request.body(Full::new(body)).map_err(|error| self.broken(&error))
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
        take: Take<'_>,
    ) -> Result<Bytes, ClientError> {
        let broken = |error: hyper::Error| self.broken(&error);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let talking = async {
            let response = self.in_time(sender.send_request(request)).await?;
            let (head, body) = response.map_err(broken)?.into_parts();
            match (head.status.is_success(), take) {
                (true, Take::Pieces(each)) => return self.pieces(body, each).await,
                (true, Take::Whole) => return self.whole(body).await,
                (false, _) => {}
            }
            let body = self.in_time(self.whole(body)).await??;
            let kind = head.headers.get(CONTENT_TYPE);
            let is_problem = kind.is_some_and(|it| it == problem::MEDIA_TYPE);
            Err(self.refusal(head.status, is_problem, &body))
        };
        // The connection works only while it is polled, and its end is no news: the answer is.
        tokio::pin!(connection, talking);
        tokio::select! {
            biased;
            answer = &mut talking => answer,
            _ = &mut connection => talking.await,
        }
    }

    async fn pieces(
        &self,
        mut body: Incoming,
        each: &mut (dyn FnMut(&[u8]) -> ControlFlow<()> + Send),
    ) -> Result<Bytes, ClientError> {
        while let Some(frame) = self.in_time(body.frame()).await? {
            let frame = frame.map_err(|why| self.broken(&why))?;
            if frame.data_ref().is_some_and(|piece| each(piece).is_break()) {
                break;
            }
        }
        Ok(Bytes::new())
    }

    /// A body that is held in memory.
    async fn whole(&self, body: Incoming) -> Result<Bytes, ClientError> {
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => self.broken(&format!("an answer of over {BODY_BYTES_MAX} bytes")),
            None => self.broken(&error),
        })?;
        Ok(body.to_bytes())
    }

    fn refusal(&self, status: StatusCode, is_problem: bool, body: &[u8]) -> ClientError {
        let problem = is_problem.then(|| serde_json::from_slice(body).ok()).flatten();
        match problem {
            Some(problem) => ClientError::Problem(problem),
            None => self.broken(&format!("the answer was {status}")),
        }
    }

    fn no_connection(&self, error: &io::Error) -> ClientError {
        use io::ErrorKind as Kind;
        let nobody =
            [Kind::ConnectionRefused, Kind::NotFound, Kind::TimedOut, Kind::HostUnreachable];
        if nobody.contains(&error.kind()) {
            return ClientError::Unreachable(self.place());
        }
        self.broken(error)
    }

    fn broken(&self, why: &(impl std::fmt::Display + ?Sized)) -> ClientError {
        ClientError::Broken { at: self.place(), why: why.to_string() }
    }

    fn place(&self) -> String {
        match &self.at {
            At::Tcp { address, .. } => address.to_string(),
            At::Unix { path } => format!("`{}`", path.display()),
        }
    }
}

async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::new(path)?;
    UnixStream::connect(short.path()).await
}
