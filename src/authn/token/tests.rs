//! Form and times of tokens. Each answer is that of native Envoy, but where it says otherwise.

use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::authn::DEFAULT_MAX_TOKEN_SIZE;

const NOW: u64 = 1_700_000_000;
const HEADER: &str = r#"{"alg":"HS256"}"#;
const PAYLOAD: &str = r#"{"iss":"a"}"#;

fn b64(text: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.{}", b64(header), b64(payload), b64("signature"))
}

/// Parses it and looks at its times.
fn error(token: &str) -> Option<JwtError> {
    let parsed = Token::parse(token, DEFAULT_MAX_TOKEN_SIZE);
    parsed.and_then(|token| token.check_time(NOW)).err()
}

#[rstest]
#[case::none(r#"{"alg":"none"}"#, Some(JwtError::AlgUnsupported))]
#[case::none_capital(r#"{"alg":"None"}"#, Some(JwtError::AlgUnsupported))]
#[case::none_capitals(r#"{"alg":"NONE"}"#, Some(JwtError::AlgUnsupported))]
#[case::none_mixed(r#"{"alg":"nOnE"}"#, Some(JwtError::AlgUnsupported))]
#[case::none_padded(r#"{"alg":" none"}"#, Some(JwtError::AlgUnsupported))]
#[case::none_escaped(r#"{"alg":"\u006eone"}"#, Some(JwtError::AlgUnsupported))]
#[case::empty(r#"{"alg":""}"#, Some(JwtError::AlgUnsupported))]
#[case::lower_case(r#"{"alg":"hs256"}"#, Some(JwtError::AlgUnsupported))]
#[case::blank(r#"{"alg":"HS256 "}"#, Some(JwtError::AlgUnsupported))]
#[case::nul(r#"{"alg":"HS256\u0000"}"#, Some(JwtError::AlgUnsupported))]
#[case::encryption(r#"{"alg":"dir","enc":"A128GCM"}"#, Some(JwtError::AlgUnsupported))]
#[case::missing("{}", Some(JwtError::HeaderAlg))]
#[case::null_header("null", Some(JwtError::HeaderAlg))]
#[case::null(r#"{"alg":null}"#, Some(JwtError::HeaderAlg))]
#[case::list(r#"{"alg":["HS256"]}"#, Some(JwtError::HeaderAlg))]
#[case::twice(r#"{"alg":"HS256","alg":"none"}"#, Some(JwtError::HeaderJson))]
#[case::kid_null(r#"{"alg":"HS256","kid":null}"#, Some(JwtError::HeaderKid))]
#[case::kid_number(r#"{"alg":"HS256","kid":5}"#, Some(JwtError::HeaderKid))]
#[case::kid_twice(r#"{"alg":"HS256","kid":"a","kid":"a"}"#, Some(JwtError::HeaderJson))]
#[case::not_looked_at(r#"{"alg":"HS256","typ":5,"cty":"JWT","enc":"A128GCM","b64":true}"#, None)]
#[case::keys_are_not_looked_at(
    r#"{"alg":"HS256","jku":"http://127.0.0.1:1/","jwk":{"kty":"oct","k":""},"x5u":5,"x5c":["AA"]}"#,
    None
)]
fn headers(#[case] header: &str, #[case] expect: Option<JwtError>) {
    assert_eq!(error(&token(header, PAYLOAD)), expect);
}

/// Native Envoy looks at none of these.
#[rstest]
#[case::crit(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, JwtError::CritUnsupported)]
#[case::crit_unknown(r#"{"alg":"HS256","crit":["x"]}"#, JwtError::CritUnsupported)]
#[case::crit_empty(r#"{"alg":"HS256","crit":[]}"#, JwtError::CritUnsupported)]
#[case::crit_null(r#"{"alg":"HS256","crit":null}"#, JwtError::CritUnsupported)]
#[case::crit_b64(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, JwtError::CritUnsupported)]
#[case::b64(r#"{"alg":"HS256","b64":false}"#, JwtError::B64Unsupported)]
#[case::b64_text(r#"{"alg":"HS256","b64":"true"}"#, JwtError::B64Unsupported)]
#[case::b64_null(r#"{"alg":"HS256","b64":null}"#, JwtError::B64Unsupported)]
#[case::zip(r#"{"alg":"HS256","zip":"DEF"}"#, JwtError::ZipUnsupported)]
#[case::zip_null(r#"{"alg":"HS256","zip":null}"#, JwtError::ZipUnsupported)]
fn headers_that_are_refused(#[case] header: &str, #[case] expect: JwtError) {
    assert_eq!(error(&token(header, PAYLOAD)), Some(expect));
}

#[rstest]
#[case::three("h.p.s", Some(JwtError::HeaderBase64))]
#[case::none("", Some(JwtError::BadFormat))]
#[case::one("h", Some(JwtError::BadFormat))]
#[case::two("h.p", Some(JwtError::BadFormat))]
#[case::unsigned(&format!("{}.{}.", b64(HEADER), b64(PAYLOAD)), Some(JwtError::BadFormat))]
#[case::jwe("a.b.c.d.e", Some(JwtError::BadFormat))]
#[case::jwe_without_key(&format!("{}..AA.AA.AA", b64(r#"{"alg":"dir"}"#)), Some(JwtError::BadFormat))]
#[case::jwe_with_little(&format!("{}..AA.AA.", b64(r#"{"alg":"dir"}"#)), Some(JwtError::AlgUnsupported))]
#[case::more_dots(&token(HEADER, PAYLOAD).replace('.', ".."), None)]
#[case::dots_around(&format!("...{}...", token(HEADER, PAYLOAD)), None)]
#[case::json_of_jws(r#"{"payload":"","signatures":[]}"#, Some(JwtError::BadFormat))]
fn sections(#[case] token: &str, #[case] expect: Option<JwtError>) {
    assert_eq!(error(token), expect);
}

#[rstest]
#[case::iss(r#"{"iss":null}"#, JwtError::IssNotString)]
#[case::iss_list(r#"{"iss":["a"]}"#, JwtError::IssNotString)]
#[case::sub(r#"{"sub":5}"#, JwtError::SubNotString)]
#[case::sub_null(r#"{"sub":null}"#, JwtError::SubNotString)]
#[case::jti(r#"{"jti":null}"#, JwtError::JtiNotString)]
#[case::aud_null(r#"{"aud":null}"#, JwtError::AudNotStrings)]
#[case::aud_number(r#"{"aud":5}"#, JwtError::AudNotStrings)]
#[case::aud_mixed(r#"{"aud":["a",5]}"#, JwtError::AudNotStrings)]
#[case::aud_nested(r#"{"aud":[["a"]]}"#, JwtError::AudNotStrings)]
#[case::aud_object(r#"{"aud":{"a":1}}"#, JwtError::AudNotStrings)]
#[case::iss_twice(r#"{"iss":"a","iss":"a"}"#, JwtError::PayloadJson)]
#[case::list("[]", JwtError::PayloadJson)]
fn claims_of_another_type(#[case] payload: &str, #[case] expect: JwtError) {
    assert_eq!(error(&token(HEADER, payload)), Some(expect));
}

/// `exp`, `nbf` and `iat` of every kind.
#[rstest]
#[case::text(r#""1""#, [JwtError::ExpNotInteger, JwtError::NbfNotInteger, JwtError::IatNotInteger])]
#[case::future_text(r#""9999999999""#, [JwtError::ExpNotInteger, JwtError::NbfNotInteger, JwtError::IatNotInteger])]
#[case::nan(r#""NaN""#, [JwtError::ExpNotInteger, JwtError::NbfNotInteger, JwtError::IatNotInteger])]
#[case::null("null", [JwtError::ExpNotInteger, JwtError::NbfNotInteger, JwtError::IatNotInteger])]
#[case::boolean("true", [JwtError::ExpNotInteger, JwtError::NbfNotInteger, JwtError::IatNotInteger])]
#[case::list("[9999999999]", [JwtError::ExpNotInteger, JwtError::NbfNotInteger, JwtError::IatNotInteger])]
#[case::object("{}", [JwtError::ExpNotInteger, JwtError::NbfNotInteger, JwtError::IatNotInteger])]
#[case::negative("-1", [JwtError::ExpOutOfRange, JwtError::NbfOutOfRange, JwtError::IatOutOfRange])]
#[case::tiny_negative("-0.5", [JwtError::ExpOutOfRange, JwtError::NbfOutOfRange, JwtError::IatOutOfRange])]
#[case::two_to_64("18446744073709551615", [JwtError::ExpOutOfRange, JwtError::NbfOutOfRange, JwtError::IatOutOfRange])]
#[case::large("9e99", [JwtError::ExpOutOfRange, JwtError::NbfOutOfRange, JwtError::IatOutOfRange])]
#[case::largest("1.7976931348623157e308", [JwtError::ExpOutOfRange, JwtError::NbfOutOfRange, JwtError::IatOutOfRange])]
#[case::many_digits("99999999999999999999999999999999999999", [JwtError::ExpOutOfRange, JwtError::NbfOutOfRange, JwtError::IatOutOfRange])]
#[case::too_large("1e400", [JwtError::PayloadJson, JwtError::PayloadJson, JwtError::PayloadJson])]
#[case::too_small("-1e400", [JwtError::PayloadJson, JwtError::PayloadJson, JwtError::PayloadJson])]
fn times_that_are_none(#[case] value: &str, #[case] expect: [JwtError; 3]) {
    for (claim, expect) in ["exp", "nbf", "iat"].into_iter().zip(expect) {
        let token = token(HEADER, &format!(r#"{{"iss":"a","{claim}":{value}}}"#));
        assert_eq!(error(&token), Some(expect), "{claim}");
    }
}

#[rstest]
#[case::fraction("1.5", [Some(JwtError::Expired), None, None])]
#[case::exponent("1E3", [Some(JwtError::Expired), None, None])]
#[case::nothing("0", [None, None, None])]
#[case::minus_nothing("-0.0", [None, None, None])]
#[case::next_to_nothing("1e-400", [None, None, None])]
#[case::far("1e18", [None, Some(JwtError::NotYetValid), None])]
#[case::signed_limit("9223372036854775808", [None, Some(JwtError::NotYetValid), None])]
#[case::farthest("18446744073709549568", [None, Some(JwtError::NotYetValid), None])]
fn times_that_are_some(#[case] value: &str, #[case] expect: [Option<JwtError>; 3]) {
    for (claim, expect) in ["exp", "nbf", "iat"].into_iter().zip(expect) {
        let token = token(HEADER, &format!(r#"{{"iss":"a","{claim}":{value}}}"#));
        assert_eq!(error(&token), expect, "{claim}");
    }
}

/// What Envoy's limit on headers lets through is read; more is refused without a look.
#[test]
fn size() {
    let large = token(HEADER, &format!(r#"{{"x":"{}"}}"#, "y".repeat(44_000)));
    assert!((58_000..60 << 10).contains(&large.len()));
    assert_eq!(error(&large), None);
    let parse = |max_size| Token::parse(&large, max_size).err();
    assert_eq!(parse(large.len()), None);
    assert_eq!(parse(large.len() - 1), Some(JwtError::TooLarge));
    assert_eq!(error(&".".repeat(DEFAULT_MAX_TOKEN_SIZE)), Some(JwtError::BadFormat));
    assert_eq!(error(&".".repeat(1_000_000)), Some(JwtError::TooLarge));
}

proptest! {
    /// White space does not count, wherever it is; padding is whole or absent.
    #[test]
    fn sections_decode_as_without_white_space(section in "([A-Za-z0-9_+/é-]{0,9}[= \\t\\n\\r\\x0b\\x0c]{0,3}){1,3}") {
        let text: String = section.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let broken_padding = text.contains('=') && !text.len().is_multiple_of(4);
        let expect = if broken_padding { None } else { BASE64URL.decode(text).ok() };
        prop_assert_eq!(decode(&section), expect);
    }
}
