//! Bearer tokens of a file, in the form of kube-apiserver's: `token,user,uid,"group1,group2"`.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::User;

/// Who has which token. Tokens themselves are not kept, only what they hash to.
#[derive(Clone, Default)]
pub struct StaticTokens(HashMap<[u8; 32], User>);

/// What is wrong with a line. Never shows what is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokens {
    /// Not enough of it.
    #[error("line {0}: must be `token,user,uid` and maybe `,\"group1,group2\"`")]
    Form(usize),
    /// Quotation marks without an end, or text behind it.
    #[error("line {0}: a quotation mark is missing")]
    Quotes(usize),
    /// One of the first two is empty.
    #[error("line {0}: the token or the user is empty")]
    Empty(usize),
    /// Short enough to be guessed.
    #[error("line {0}: the token has less than 16 characters")]
    Short(usize),
    /// There is such a token above.
    #[error("line {0}: the token is there twice")]
    Twice(usize),
}

impl StaticTokens {
    /// Reads the text of such a file. Lines that are empty or begin with `#` do not count.
    pub fn parse(text: &str) -> Result<Self, InvalidTokens> {
        let mut users = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields = fields(line).ok_or(InvalidTokens::Quotes(number))?;
            let (token, name, uid, groups) = match fields.as_slice() {
                [token, name, uid] => (token, name, uid, ""),
                [token, name, uid, groups] => (token, name, uid, groups.as_str()),
                _ => return Err(InvalidTokens::Form(number)),
            };
            if token.is_empty() || name.is_empty() {
                return Err(InvalidTokens::Empty(number));
            }
            if token.len() < 16 {
                return Err(InvalidTokens::Short(number));
            }
            let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
            let groups = groups.map(str::to_owned).collect();
            let user = User { name: name.to_string(), uid: uid.to_string(), groups };
            if users.insert(hash(token), user).is_some() {
                return Err(InvalidTokens::Twice(number));
            }
        }
        Ok(Self(users))
    }

    /// Whose token it is. How long the answer takes tells nothing about tokens that are known:
    /// hashes are compared.
    pub fn user(&self, token: &str) -> Option<&User> {
        self.0.get(&hash(token))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticTokens").field("count", &self.0.len()).finish()
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.iter_mut()
        .zip(digest(&SHA256, token.as_bytes()).as_ref())
        .for_each(|(to, from)| *to = *from);
    hash
}

/// Parts between commas; a part in quotation marks may have commas, and two marks for one.
fn fields(line: &str) -> Option<Vec<Zeroizing<String>>> {
    let mut fields = vec![Zeroizing::new(String::new())];
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut()?;
        match character {
            ',' => fields.push(Zeroizing::new(String::new())),
            '"' if field.is_empty() => {
                loop {
                    match characters.next()? {
                        '"' if characters.peek() == Some(&'"') => {
                            characters.next();
                            field.push('"');
                        }
                        '"' => break,
                        other => field.push(other),
                    }
                }
                if !matches!(characters.peek(), None | Some(',')) {
                    return None;
                }
            }
            other => field.push(other),
        }
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn tokens_have_users() {
        let text = format!(
            "# who\n\n{TOKEN}1,ann,7\n{TOKEN}2,\"bob, the builder\",8,\"a, b\"\r\n{TOKEN}3,c,,d\n"
        );
        let tokens = StaticTokens::parse(&text).unwrap();
        let user = |token: &str| tokens.user(token).cloned();
        let expected = |name: &str, uid: &str, groups: &[&str]| {
            let groups = groups.iter().map(ToString::to_string).collect();
            Some(User { name: name.into(), uid: uid.into(), groups })
        };
        assert_eq!(user(&format!("{TOKEN}1")), expected("ann", "7", &[]));
        assert_eq!(user(&format!("{TOKEN}2")), expected("bob, the builder", "8", &["a", "b"]));
        assert_eq!(user(&format!("{TOKEN}3")), expected("c", "", &["d"]));
        assert_eq!((user(TOKEN), user("")), (None, None));
        assert_eq!(format!("{tokens:?}"), "StaticTokens { count: 3 }");
    }

    #[rstest]
    #[case::short_line("a,b", InvalidTokens::Form(2))]
    #[case::long_line("0123456789abcdef,b,c,d,e", InvalidTokens::Form(2))]
    #[case::open("0123456789abcdef,b,c,\"d", InvalidTokens::Quotes(2))]
    #[case::behind("0123456789abcdef,b,c,\"d\"e", InvalidTokens::Quotes(2))]
    #[case::no_token(",b,c", InvalidTokens::Empty(2))]
    #[case::no_user("0123456789abcdef,,c", InvalidTokens::Empty(2))]
    #[case::guessable("secret,b,c", InvalidTokens::Short(2))]
    #[case::twice("0123456789abcdef,b,c\n0123456789abcdef,d,e", InvalidTokens::Twice(3))]
    fn bad_lines_are_errors(#[case] lines: &str, #[case] error: InvalidTokens) {
        assert_eq!(StaticTokens::parse(&format!("\n{lines}")).unwrap_err(), error);
    }
}
