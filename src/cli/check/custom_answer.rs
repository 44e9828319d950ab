//! What extension providers are taken to say, where nobody asks them.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::config::Config;
use crate::custom::{Answer, Answered, Definitions, Denial, Failure, Trouble};

/// Answers of extension providers.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CustomAnswerFlags {
    /// What an extension provider that a CUSTOM rule asks says: allow, deny or error; several times
    /// for several providers. No provider is called, and one whose answer is not given denies
    #[arg(long = "custom-answer", value_name = "PROVIDER=ANSWER")]
    answers: Vec<CustomAnswer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CustomAnswer {
    provider: String,
    answer: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Allow,
    Deny,
    Error,
}

impl FromStr for CustomAnswer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("`{text}` is not a provider and its answer, such as `opa=allow`");
        let (provider, answer) = text.rsplit_once('=').ok_or_else(problem)?;
        let answer = match answer {
            "allow" => Word::Allow,
            "deny" => Word::Deny,
            "error" => Word::Error,
            other => return Err(format!("`{other}` is not `allow`, `deny` or `error`")),
        };
        if provider.is_empty() {
            return Err(problem());
        }
        Ok(Self { provider: provider.to_owned(), answer })
    }
}

impl CustomAnswerFlags {
    /// Who is defined, and what they say. A provider whose answer is given counts as defined.
    pub(super) fn standing(&self, config: &Config) -> Result<(Definitions, Vec<Answered>)> {
        let mut definitions = config.extension_providers.definitions();
        let mut answers: Vec<Answered> = Vec::new();
        for CustomAnswer { provider, answer } in &self.answers {
            let name: Arc<str> = provider.as_str().into();
            if answers.iter().any(|known| known.provider == name) {
                bail!("--custom-answer: `{provider}` is there twice");
            }
            let configured = &config.extension_providers.providers;
            let fail_open =
                configured.iter().any(|(known, _)| known.name == name && known.fail_open);
            let answer = match answer {
                Word::Allow => Answer::Allowed(Box::default()),
                Word::Deny => Answer::Denied(Box::new(Denial::of_status(403))),
                Word::Error => {
                    let closed = Failure::closed(Trouble::Unreachable);
                    Answer::Failed(Box::new(Failure { passes: fail_open, ..closed }))
                }
            };
            definitions.define(&name);
            answers.push(Answered { provider: name, answer: Arc::new(answer) });
        }
        Ok((definitions, answers))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("opa=allow", Ok(("opa", Word::Allow)))]
    #[case("a=b=deny", Ok(("a=b", Word::Deny)))]
    #[case("opa=error", Ok(("opa", Word::Error)))]
    #[case("opa", Err("`opa` is not a provider and its answer, such as `opa=allow`"))]
    #[case("=allow", Err("`=allow` is not a provider and its answer, such as `opa=allow`"))]
    #[case("opa=yes", Err("`yes` is not `allow`, `deny` or `error`"))]
    fn answers_are_read(#[case] text: &str, #[case] expect: Result<(&str, Word), &str>) {
        let expect = expect
            .map_err(str::to_owned)
            .map(|(provider, answer)| CustomAnswer { provider: provider.to_owned(), answer });
        assert_eq!(text.parse(), expect);
    }
}
