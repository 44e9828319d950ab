//! The requests of the demo and the answers they must get: each kind of answer at least once.

use std::fmt;

use super::answer::{Answer, DryRun, Rule};

/// Where a request goes. One Envoy listener stands before each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Productpage,
    Reviews,
    Ratings,
}

impl Service {
    pub(super) const ALL: [Self; 3] = [Self::Productpage, Self::Reviews, Self::Ratings];

    /// Its label `app`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Productpage => "productpage",
            Self::Reviews => "reviews",
            Self::Ratings => "ratings",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Mutual TLS with the certificate of a service account.
    Gateway,
    /// Likewise.
    Productpage,
    /// Likewise.
    Details,
    /// Likewise.
    Reviews,
    /// TLS, without a certificate.
    NoCertificate,
    /// No TLS.
    Plaintext,
}

impl Caller {
    /// All that have a certificate.
    pub(super) const CERTIFIED: [Self; 4] =
        [Self::Gateway, Self::Productpage, Self::Details, Self::Reviews];

    /// Its name here, and of its files.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Productpage => "productpage",
            Self::Details => "details",
            Self::Reviews => "reviews",
            Self::NoCertificate => "no certificate",
            Self::Plaintext => "plaintext",
        }
    }

    /// The name in its certificate.
    pub(super) fn spiffe_id(self) -> Option<&'static str> {
        match self {
            Self::Gateway => Some("spiffe://cluster.local/ns/edge/sa/gateway"),
            Self::Productpage => Some("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage"),
            Self::Details => Some("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-details"),
            Self::Reviews => Some("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-reviews"),
            Self::NoCertificate | Self::Plaintext => None,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the user behind the gateway shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Of the group `moderators`.
    Moderator,
    /// Of no group.
    Reader,
    /// Was good an hour ago.
    Expired,
    /// Signed with another key than it says.
    Forged,
    /// Issued for another service.
    WrongAudience,
}

impl Token {
    pub(super) const ALL: [Self; 5] =
        [Self::Moderator, Self::Reader, Self::Expired, Self::Forged, Self::WrongAudience];

    /// Its name here.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Moderator => "moderator",
            Self::Reader => "reader",
            Self::Expired => "expired token",
            Self::Forged => "forged token",
            Self::WrongAudience => "wrong audience",
        }
    }

    /// The name of its file.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Moderator => "moderator.jwt",
            Self::Reader => "reader.jwt",
            Self::Expired => "expired.jwt",
            Self::Forged => "forged.jwt",
            Self::WrongAudience => "wrong-audience.jwt",
        }
    }
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) to: Service,
    pub(super) caller: Caller,
    pub(super) token: Option<Token>,
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Beside the token.
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) expected: Answer,
    /// What the table says below it.
    pub(super) remark: Option<&'static str>,
}

/// What a browser sends before a DELETE from another site.
const PREFLIGHT: &[(&str, &str)] =
    &[("origin", "https://moderation.example"), ("access-control-request-method", "DELETE")];

/// All requests, in the order they are sent.
pub(super) fn requests() -> Vec<Request> {
    use Caller as C;
    use Service as S;
    use Token as T;
    let page = |method, path, expected| Request {
        to: S::Productpage,
        caller: C::Gateway,
        token: None,
        method,
        path,
        headers: &[],
        expected,
        remark: None,
    };
    let with = |token, request: Request| Request { token: Some(token), ..request };
    let get = |caller, to, path, expected| Request {
        to,
        caller,
        token: None,
        method: "GET",
        path,
        headers: &[],
        expected,
        remark: None,
    };
    let review = "/api/v1/reviews/7";
    vec![
        page("GET", "/productpage", allowed("productpage-viewer", 0)),
        page("POST", "/productpage", audited(denied(403, "no_allow_rule"))),
        page("GET", "/admin/users", denied_by("no-admin", 0)),
        page("GET", "/api/v0/products", dry_run(allowed("productpage-viewer", 0))),
        page("DELETE", review, audited(denied(403, "no_allow_rule"))),
        with(T::Reader, page("DELETE", review, audited(denied(403, "no_allow_rule")))),
        with(T::Moderator, page("DELETE", review, audited(allowed("moderators", 0)))),
        with(T::Expired, page("GET", "/productpage", bad_token(401, "Jwt is expired"))),
        with(T::Forged, page("GET", "/productpage", bad_token(401, "Jwt verification fails"))),
        with(
            T::WrongAudience,
            page("GET", "/productpage", bad_token(403, "Audiences in Jwt are not allowed")),
        ),
        // Browsers send none; that a bad one does no harm shows that it is not looked at.
        Request {
            headers: PREFLIGHT,
            remark: Some("a CORS preflight: its token is not looked at"),
            ..with(T::Expired, page("OPTIONS", review, allowed("productpage-viewer", 1)))
        },
        get(C::Plaintext, S::Productpage, "/productpage", denied(403, "peer_unauthenticated")),
        get(C::Productpage, S::Reviews, "/reviews/0", allowed("reviews-viewer", 0)),
        get(C::Details, S::Reviews, "/reviews/0", denied(403, "no_allow_rule")),
        get(C::Reviews, S::Ratings, "/ratings/0", allowed("ratings-viewer", 0)),
        get(C::NoCertificate, S::Ratings, "/ratings/0", denied(403, "peer_unauthenticated")),
    ]
}

fn rule(policy: &str, number: u32) -> Option<Rule> {
    Some(Rule { policy: format!("bookinfo/{policy}"), number: number.to_string() })
}

fn allowed(policy: &str, number: u32) -> Answer {
    Answer {
        status: 200,
        decision: "allow".into(),
        reason: "allow_rule".into(),
        rule: rule(policy, number),
        ..Answer::default()
    }
}

fn denied(status: u16, reason: &str) -> Answer {
    Answer { status, decision: "deny".into(), reason: reason.into(), ..Answer::default() }
}

fn denied_by(policy: &str, number: u32) -> Answer {
    Answer { rule: rule(policy, number), ..denied(403, "deny_rule") }
}

fn bad_token(status: u16, error: &str) -> Answer {
    Answer { jwt_error: Some(error.into()), ..denied(status, "jwt") }
}

fn audited(answer: Answer) -> Answer {
    Answer { audited_by: vec!["bookinfo/audit-writes".into()], ..answer }
}

fn dry_run(answer: Answer) -> Answer {
    let dry_run = DryRun { decision: "deny".into(), rule: rule("retire-api-v0", 0) };
    Answer { dry_run: Some(dry_run), ..answer }
}
