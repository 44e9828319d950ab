//! `postern completions` and `postern man`: what the command line knows of itself.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap_complete::Shell;

use super::{command_line, could_not_run, print};

/// Print completions for a shell
///
/// For bash, in ~/.bashrc: `source <(postern completions bash)`. For zsh, into a file `_postern` of a
/// folder in `fpath`; for fish, into ~/.config/fish/completions/postern.fish.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Write man pages, one for each command, into a folder
///
/// Without a folder, the page of `postern` itself goes to stdout: `postern man | man -l -`.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// The folder; made if it is not there
    folder: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(&self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command_line(), "postern", &mut script);
        print(String::from_utf8_lossy(&script).trim_end());
        ExitCode::SUCCESS
    }
}

impl Man {
    pub(super) fn run(&self) -> ExitCode {
        match self.write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => could_not_run(format_args!("{error:#}")),
        }
    }

    fn write(&self) -> Result<()> {
        let Some(folder) = &self.folder else {
            clap_mangen::Man::new(command_line()).render(&mut io::stdout())?;
            return Ok(());
        };
        let cannot = || format!("cannot write man pages to `{}`", folder.display());
        std::fs::create_dir_all(folder).with_context(cannot)?;
        clap_mangen::generate_to(command_line(), folder).with_context(cannot)
    }
}
