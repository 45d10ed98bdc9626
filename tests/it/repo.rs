//! The repository adapters on real git repositories and folders: the awkward cases, each with a name.

mod awkward;
pub mod desk;
mod folder;
mod hostile;
mod random;
mod reading;
mod repairs;
