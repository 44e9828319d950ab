//! Who calls: by certificate, by token, or nobody.

use http::{HeaderMap, header};

use super::super::access::{MASTERS, User};
use super::super::status::ApiError;
use super::Settings;

/// Who calls; nobody is an error.
pub(super) async fn caller(
    settings: &Settings,
    certified: Option<&User>,
    headers: &HeaderMap,
) -> Result<User, ApiError> {
    if let Some(user) = certified {
        return Ok(user.clone());
    }
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let token = authorization.to_str().ok().and_then(bearer);
        let token = token.ok_or_else(ApiError::unauthorized)?;
        if let Some(user) = settings.tokens.user(token) {
            return Ok(user.clone());
        }
        let user = match &settings.jwt {
            Some(jwt) => jwt.user(token).await,
            None => None,
        };
        return user.ok_or_else(ApiError::unauthorized);
    }
    // A page in a browser on this machine must not do what its user may. Browsers say who they act
    // for, other programs do not.
    let is_browser = ["origin", "sec-fetch-site"].iter().any(|name| headers.contains_key(*name));
    if settings.open && !is_browser {
        let name = "postern:loopback".to_owned();
        return Ok(User { name, uid: String::new(), groups: vec![MASTERS.to_owned()] });
    }
    Err(ApiError::unauthorized())
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
