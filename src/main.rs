//! The `aam` binary: hands over to [`aam::cli`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    aam::wiring::install_tls();
    aam::cli::main().await
}
