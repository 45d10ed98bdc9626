//! `aam`, the Adaptive API Mesh: keeps data pipelines alive when the systems they read from change shape.
//!
//! Data flows one way and the modules say so: files → [`spec`] → desired; engine and source → observed; both →
//! [`drift`] → [`repair`] → [`plan`] → [`reconcile`] → registry, repository, engine → [`status`].
//! `ARCHITECTURE.md` has one paragraph for each module; `tests/it/tidy.rs` guards which may import which.

// layer 0: words
pub mod diag;
pub mod model;
// layer 1: thinking, without clock, disk, network or async
pub mod drift;
pub mod mapping;
pub mod plan;
pub mod repair;
pub mod spec;
pub mod status;
// layer 2: doors
pub mod ports;
// layer 3: doing
pub mod canonical;
pub mod reconcile;
// layer 4: adapters
pub mod connector;
pub mod engine;
pub mod forge;
pub mod registry;
pub mod repo;
pub mod secrets;
// layer 5: edges
pub mod cli;
pub mod daemon;
pub mod http;
pub mod settings;
pub mod telemetry;
pub mod wiring;
