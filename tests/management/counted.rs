//! What operators see of the API's requests.

use http::Method;

use crate::server::{Client, Server};

#[tokio::test]
async fn requests_are_counted_by_endpoint_and_code() {
    let mut server = Server::start(&[]);
    let (viewer, nobody) = (server.viewer(), server.anonymous());
    viewer.get("/virtual-services/payments/payment-service").await.good();
    viewer.get("/virtual-services/payments/unknown").await.bad(404);
    viewer.get("/virtual-services/PAYMENTS/unknown").await.bad(400);
    nobody.get("/virtual-services/payments/payment-service").await.bad(401);
    nobody.get("/of-the-caller").await.bad(401);
    viewer.get("/of-the-caller").await.bad(404);
    viewer.call(Method::PUT, "/api/v1/istio/status", &[], "").await.bad(405);
    server.admin().weigh("payment-service", "{}").await.bad(400);
    nobody.get("/openapi.json").await.good();

    let admin = Client::to(&server.address("admin"), None);
    let text = admin.call(Method::GET, "/metrics", &[], "").await.body;
    let text = text.as_str().unwrap();
    let mut counted: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("postern_management_requests_total"))
        .collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            r#"{endpoint="",code="401"} 1"#,
            r#"{endpoint="",code="404"} 1"#,
            r#"{endpoint="/openapi.json",code="200"} 1"#,
            r#"{endpoint="/status",code="405"} 1"#,
            r#"{endpoint="/virtual-services/{namespace}/{name}",code="200"} 1"#,
            r#"{endpoint="/virtual-services/{namespace}/{name}",code="400"} 1"#,
            r#"{endpoint="/virtual-services/{namespace}/{name}",code="401"} 1"#,
            r#"{endpoint="/virtual-services/{namespace}/{name}",code="404"} 1"#,
            r#"{endpoint="/virtual-services/{namespace}/{name}/weights",code="400"} 1"#,
        ]
    );
    let count = "postern_management_request_duration_seconds_count 9";
    assert!(text.lines().any(|line| line == count), "{text}");
}
