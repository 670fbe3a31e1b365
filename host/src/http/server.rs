//! The serving side of HTTP on this machine.
//!
//! The rule: what a stranger on this machine can take from the service is bounded. A connection
//! has [`HEADER`] to say what it wants and [`ANSWER`] to be answered, there are [`CONNECTIONS`] of
//! them at most (the rest waits in the kernel's queue), a body has at most as many bytes as the
//! program said, and without the token nothing but 401 is answered.
//!
//! Whatever a route answers with a status of 400 or more leaves as a problem document, also where
//! axum wrote the text. A route that panics loses its connection and nothing else.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{DefaultBodyLimit, Request, State},
    http::{
        HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
    serve::Listener,
};
use http_body_util::Limited;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
};

use super::{Problem, problem, socket_path::ShortPath};
use crate::token::Token;

/// Time for a request's head, and how long a connection may stay without a request.
const HEADER: Duration = Duration::from_secs(10);
/// Time for a request's body and the answer to it: a large upload to a busy disk, with room.
const ANSWER: Duration = Duration::from_mins(2);
/// Connections at once. Far more than one machine's commands open; few enough to hold.
const CONNECTIONS: usize = 256;
/// What another's error text is cut to when it becomes a problem's detail.
const DETAIL_BYTES: usize = 4096;
/// And a path that nothing is at, when it is told back.
const PATH_CHARS: usize = 200;

/// Listens on `address`.
///
/// `flag` is what chooses another port.
pub async fn bind_tcp(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        if error.kind() != io::ErrorKind::AddrInUse {
            return anyhow!(error).context(format!("listening on TCP {address}"));
        }
        anyhow!(
            "TCP port {} of {} is in use: stop the program that has it, or choose another port \
             with {flag}",
            address.port(),
            address.ip()
        )
    })
}

/// Listens on the unix socket `path`, which only the owner may open.
///
/// A socket that is left there is replaced: the caller holds the data folder's lock, so nobody
/// listens on it any more. The socket gets its permissions before it gets its name.
pub fn bind_unix(path: &Path) -> anyhow::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let bind = || -> io::Result<UnixListener> {
        _ = fs::remove_file(beside);
        if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(io::Error::other("something that is no socket has this name: remove it"));
        }
        let short = ShortPath::new(beside)?;
        let listener = UnixListener::bind(short.path())?;
        fs::set_permissions(beside, fs::Permissions::from_mode(0o600))?;
        fs::rename(beside, path)?;
        Ok(listener)
    };
    bind().with_context(|| format!("listening on `{}`", path.display()))
}

/// Serves those who show `token`; never returns. Dropping it ends its connections.
pub async fn serve_tcp(listener: TcpListener, router: Router, token: Token, body_bytes_max: usize) {
    // The token is asked for before anything of the request is looked at.
    let router = guarded(router, body_bytes_max).layer(from_fn_with_state(token, authorized));
    serve(router, listener, HEADER).await;
}

/// Serves those who may open the socket; never returns. Dropping it ends its connections.
pub async fn serve_unix(listener: UnixListener, router: Router, body_bytes_max: usize) {
    let router = guarded(router, body_bytes_max);
    serve(router, listener, HEADER).await;
}

/// `header` is [`HEADER`], but for the test that waits for it.
pub(super) async fn serve(router: Router, mut listener: impl Listener, header: Duration) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if CONNECTIONS <= connections.len() {
            connections.join_next().await;
            continue;
        }
        // Errors of accepting, such as no free file descriptor, are waited out in there.
        let (stream, _) = listener.accept().await;
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection ended");
            }
        });
    }
}

fn guarded(router: Router, body_bytes_max: usize) -> Router {
    router
        .layer(DefaultBodyLimit::disable()) // `limited` holds for every route alike.
        .layer(from_fn_with_state(body_bytes_max, limited))
        .layer(from_fn(in_time))
        .layer(from_fn(as_problem))
}

async fn authorized(State(token): State<Token>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if shown.and_then(|shown| shown.strip_prefix(b"Bearer ")).is_some_and(|it| token.matches(it)) {
        return next.run(request).await;
    }
    let detail = "send `Authorization: Bearer` with the token from the service's data folder";
    let mut response = Problem::of_status(StatusCode::UNAUTHORIZED, detail).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

async fn limited(State(bytes_max): State<usize>, request: Request, next: Next) -> Response {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|bytes| (bytes_max as u64) < bytes) {
        let detail = format!("a body of more than {bytes_max} bytes");
        return Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE, detail).into_response();
    }
    next.run(request.map(|body| Body::new(Limited::new(body, bytes_max)))).await
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::of_status(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("no answer within {} s", ANSWER.as_secs()),
        )
        .into_response(),
    }
}

async fn as_problem(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let status = response.status();
    let is_problem =
        response.headers().get(CONTENT_TYPE).is_some_and(|it| it == problem::MEDIA_TYPE);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let detail = to_bytes(body, DETAIL_BYTES).await.unwrap_or_default();
    let mut detail = String::from_utf8_lossy(&detail).into_owned();
    if detail.is_empty() {
        detail = unrouted(status, &method, &path);
    }
    let problem = Problem::of_status(status, detail).into_response();
    // Headers such as `Allow` stay; those that described the text go.
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    Response::from_parts(parts, problem.into_body())
}

/// What to say where no route was found; axum says nothing.
fn unrouted(status: StatusCode, method: &Method, path: &str) -> String {
    // Whoever asks may have written anything.
    let path: String = path.chars().take(PATH_CHARS).collect();
    match status {
        StatusCode::NOT_FOUND => format!("there is nothing at `{path}`: look for a misspelling"),
        StatusCode::METHOD_NOT_ALLOWED => {
            format!("`{path}` does not take {method}: the header `Allow` says what it takes")
        }
        _ => String::new(),
    }
}
