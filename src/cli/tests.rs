use super::*;

#[test]
fn the_command_line_is_consistent() {
    command_line().debug_assert();
}

#[test]
fn help_of_serve_is_stable() {
    let mut command = command_line();
    let serve = command.find_subcommand_mut("serve").unwrap();
    insta::assert_snapshot!(serve.render_long_help());
}
