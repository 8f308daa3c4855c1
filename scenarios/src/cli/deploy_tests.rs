//! What stands in `deploy/` is taken by the command line, and its shards are all shards.

use super::args::{Command, Klamm};
use clap::Parser;
use yaml_rust2::{Yaml, YamlLoader};

#[allow(clippy::disallowed_methods, reason = "a test that reads the sources")]
fn documents(name: &str) -> Vec<Yaml> {
    let path = format!("{}/../deploy/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every line of a shell text that calls klamm, as the command line takes it.
fn calls(shell: &str) -> Vec<Klamm> {
    let lines = shell.lines().map(str::trim).map(|line| line.strip_prefix("bin/").unwrap_or(line));
    let parse =
        |line: &str| Klamm::try_parse_from(line.split_whitespace()).unwrap_or_else(|error| panic!("`{line}`: {error}"));
    lines.filter(|line| line.starts_with("klamm ")).map(parse).collect()
}

/// The shards of these calls, each with its folder.
fn shards(calls: Vec<Klamm>) -> Vec<(String, String)> {
    let shard = |call: Klamm| match call.command {
        Command::Campaign(args) => (args.shard.unwrap().to_string(), args.out.unwrap().display().to_string()),
        other => panic!("not a campaign: {other:?}"),
    };
    calls.into_iter().map(shard).collect()
}

fn expected(of: i64, folder: &str) -> Vec<(String, String)> {
    (1..=of).map(|number| (format!("{number}/{of}"), format!("{folder}part-{number}"))).collect()
}

fn merged(call: &Klamm) -> Vec<String> {
    match &call.command {
        Command::Merge(args) => args.dirs.iter().map(|dir| dir.display().to_string()).collect(),
        other => panic!("not a merge: {other:?}"),
    }
}

#[test]
fn the_indexed_job_runs_every_shard_and_the_other_job_merges_them() {
    let documents = documents("kubernetes.yml");
    let job =
        |name: &str| documents.iter().find(|document| document["metadata"]["name"].as_str() == Some(name)).unwrap();
    let shell = |job: &Yaml| job["spec"]["template"]["spec"]["containers"][0]["args"][0].as_str().unwrap().to_owned();
    let campaign = job("klamm-campaign");
    assert_eq!(campaign["spec"]["completionMode"].as_str(), Some("Indexed"));
    let pods = campaign["spec"]["completions"].as_i64().unwrap();
    let all = (1..=pods)
        .flat_map(|number| calls(&shell(campaign).replace("$((JOB_COMPLETION_INDEX + 1))", &number.to_string())));
    assert_eq!(shards(all.collect()), expected(pods, "/results/"));
    let merge = calls(&shell(job("klamm-merge")));
    assert_eq!(merge.iter().map(merged).collect::<Vec<_>>(), [["/results/part-*"]]);
}

#[test]
fn the_workflow_runs_every_shard_and_merges_them() {
    let documents = documents("github-actions.yml");
    let jobs = &documents[0]["jobs"];
    let shell = |job: &Yaml| {
        let steps = job["steps"].as_vec().unwrap().iter();
        steps.filter_map(|step| step["run"].as_str()).collect::<Vec<_>>().join("\n")
    };
    let matrix = jobs["campaign"]["strategy"]["matrix"]["shard"].as_vec().unwrap();
    let all = matrix.iter().flat_map(|number| {
        calls(&shell(&jobs["campaign"]).replace("${{ matrix.shard }}", &number.as_i64().unwrap().to_string()))
    });
    assert_eq!(shards(all.collect()), expected(matrix.len() as i64, ""));
    let folders: Vec<String> = expected(matrix.len() as i64, "").into_iter().map(|(_, folder)| folder).collect();
    let merge = calls(&shell(&jobs["merge"]));
    assert_eq!(merge.iter().map(merged).collect::<Vec<_>>(), [folders]);
    let fresh = calls(&shell(&jobs["fresh"]));
    assert!(
        fresh.iter().all(|call| matches!(&call.command, Command::Campaign(args) if args.fresh)) && fresh.len() == 1
    );
}

#[test]
fn what_the_readme_shows_is_taken_too() {
    #[allow(clippy::disallowed_methods, reason = "a test that reads the sources")]
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/README.md")).unwrap();
    let without_remarks: Vec<&str> = text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
    assert_eq!(calls(&without_remarks.join("\n")).len(), 2);
}
