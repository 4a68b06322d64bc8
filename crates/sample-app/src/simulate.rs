//! `/simulate`: asking for faults, and what is simulated.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::app::{App, Shared, refuse};
use crate::fault::{Kind, Order};
use crate::parameters::{self, Parameters};
use crate::say::say;
use crate::simulator;

type Pairs = Query<Vec<(String, String)>>;

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no fault is called {name:?}; there are {known} and reset")]
    UnknownFault { name: String, known: String },
    #[error("the request has a body; put parameters into the query, such as ?duration=30s")]
    Body,
    #[error(transparent)]
    Parameters(#[from] parameters::Refusal),
    #[error(transparent)]
    Simulator(#[from] simulator::Refusal),
    #[error("the change was cut short: {0}")]
    CutShort(#[from] tokio::task::JoinError),
}

/// `GET /simulate`: the faults on.
pub(crate) async fn list(State(app): State<Shared>) -> Response {
    tell(&app)
}

/// `POST /simulate/{fault}`: begins a fault, or ends them all; answers with
/// the faults that are on then.
pub(crate) async fn change(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Query(pairs): Pairs,
    body: Bytes,
) -> Response {
    let done = if !body.is_empty() {
        Err(Refusal::Body)
    } else if name == "reset" {
        reset(&app, pairs).await
    } else {
        begin(&app, &name, pairs).await
    };
    match done {
        Ok(()) => tell(&app),
        Err(refusal) => refuse(refusal.code(), &refusal),
    }
}

async fn begin(app: &Shared, name: &str, pairs: Vec<(String, String)>) -> Result<(), Refusal> {
    let kind: Kind = name
        .parse()
        .map_err(|()| Refusal::UnknownFault { name: name.to_owned(), known: Kind::ALL.map(Kind::name).join(", ") })?;
    let order = Order::read(kind, Parameters::read(pairs)?)?;
    let said = order.to_string();
    let app = Arc::clone(app);
    // The change blocks on the state file and on threads that end.
    spawn_blocking(move || app.simulator.begin(order, Instant::now(), SystemTime::now())).await??;
    say(format_args!("simulating {said}"));
    Ok(())
}

async fn reset(app: &Shared, pairs: Vec<(String, String)>) -> Result<(), Refusal> {
    Parameters::read(pairs)?.finish()?;
    let app = Arc::clone(app);
    spawn_blocking(move || app.simulator.reset(Instant::now())).await??;
    say("simulating nothing");
    Ok(())
}

fn tell(app: &App) -> Response {
    let board = app.simulator.board();
    Json(json!({"simulating": board.tell(Instant::now())})).into_response()
}

impl Refusal {
    fn code(&self) -> StatusCode {
        match self {
            Self::UnknownFault { .. } => StatusCode::NOT_FOUND,
            Self::CutShort(_) | Self::Simulator(simulator::Refusal::StateFile(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Body | Self::Parameters(_) | Self::Simulator(_) => StatusCode::BAD_REQUEST,
        }
    }
}
