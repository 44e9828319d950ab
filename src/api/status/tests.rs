use rstest::rstest;

use super::*;

const AP: ResourceType = ResourceType::AUTHORIZATION_POLICY;

#[rstest]
#[case(
    ApiError::not_found(AP, "a"),
    404,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"authorizationpolicies.security.istio.io \"a\" not found","reason":"NotFound","details":{"name":"a","group":"security.istio.io","kind":"authorizationpolicies"},"code":404}"#
)]
#[case(
    ApiError::not_found(ResourceType::NAMESPACE, "x"),
    404,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"namespaces \"x\" not found","reason":"NotFound","details":{"name":"x","kind":"namespaces"},"code":404}"#
)]
#[case(
    ApiError::unauthorized(),
    401,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#
)]
#[case(
    ApiError::invalid(AP, "bad", &[FieldError::not_supported("spec.action", "BLOCK", &["ALLOW", "DENY", "AUDIT", "CUSTOM"])]),
    422,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"AuthorizationPolicy.security.istio.io \"bad\" is invalid: spec.action: Unsupported value: \"BLOCK\": supported values: \"ALLOW\", \"DENY\", \"AUDIT\", \"CUSTOM\"","reason":"Invalid","details":{"name":"bad","group":"security.istio.io","kind":"AuthorizationPolicy","causes":[{"reason":"FieldValueNotSupported","message":"Unsupported value: \"BLOCK\": supported values: \"ALLOW\", \"DENY\", \"AUDIT\", \"CUSTOM\"","field":"spec.action"}]},"code":422}"#
)]
#[case(
    ApiError::generated_name_exists(AP, "x-abcde"),
    409,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"authorizationpolicies.security.istio.io \"x-abcde\" already exists, the server was not able to generate a unique name for the object","reason":"AlreadyExists","details":{"name":"x-abcde","group":"security.istio.io","kind":"authorizationpolicies","retryAfterSeconds":1},"code":409}"#
)]
#[case(
    ApiError::too_large_resource_version(9, 7),
    504,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Timeout: Too large resource version: 9, current: 7","reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1},"code":504}"#
)]
#[case(
    ApiError::unprocessable_patch(),
    422,
    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server rejected our request due to an error in our request","reason":"Invalid","details":{},"code":422}"#
)]
fn the_status_object(#[case] error: ApiError, #[case] code: u16, #[case] expect: &str) {
    assert_eq!(error.code(), code);
    assert_eq!(error.to_json().to_string(), expect);
}

#[rstest]
#[case(
    ApiError::modified(AP, "a"),
    "Operation cannot be fulfilled on authorizationpolicies.security.istio.io \"a\": the object has been modified; please apply your changes to the latest version and try again"
)]
#[case(
    ApiError::forbidden(AP, "a", "User \"u\" cannot get resource"),
    "authorizationpolicies.security.istio.io \"a\" is forbidden: User \"u\" cannot get resource"
)]
#[case(
    ApiError::forbidden(AP, "", "no"),
    "authorizationpolicies.security.istio.io is forbidden: no"
)]
#[case(ApiError::too_old_resource_version(3, 9), "too old resource version: 3 (9)")]
#[case(
    ApiError::unsupported_media_type(&["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]),
    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
)]
#[case(
    ApiError::cannot_be_handled(AP, "v1", "strict decoding error: unknown field \"spec.acton\""),
    "AuthorizationPolicy in version \"v1\" cannot be handled as a AuthorizationPolicy: strict decoding error: unknown field \"spec.acton\""
)]
#[case(
    ApiError::invalid_options("PatchOptions", &[FieldError::required("fieldManager", "is required for apply patch")]),
    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
)]
#[case(
    ApiError::invalid_patch_result(&[FieldError::required("a", ""), FieldError::required("a", ""), FieldError::required("b", "")]),
    " \"\" is invalid: [a: Required value, b: Required value]"
)]
fn messages(#[case] error: ApiError, #[case] expect: &str) {
    assert_eq!(error.to_string(), expect);
}

#[test]
fn a_completed_delete() {
    assert_eq!(
        deleted(AP, "a", "u-1").to_string(),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a","group":"security.istio.io","kind":"authorizationpolicies","uid":"u-1"}}"#
    );
}
