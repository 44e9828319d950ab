//! The result as CI systems read it.

use anyhow::Result;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::run::Suite;

/// A JUnit report: a suite for each case file, a test case for each request.
pub(super) fn report(suite: &Suite) -> Result<String> {
    let mut report = Report::new("postern test");
    for file in &suite.files {
        let mut tests = TestSuite::new(file.name.to_string());
        for case in &file.cases {
            let mut status = TestCaseStatus::success();
            if let Some(failure) = &case.failure {
                status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                let (expected, answered) = (&failure.expected, &failure.answered);
                status.set_message(format!("expected {expected}, answered {answered}"));
                status.set_description(failure.explanation.clone());
            }
            let mut test = TestCase::new(case.name.clone(), status);
            test.set_classname(file.name.to_string());
            tests.add_test_case(test);
        }
        report.add_test_suite(tests);
    }
    Ok(report.to_string()?)
}
