//! Files and directories.

use crate::differences::*;
use crate::{Stage, expectations, kind};
use bytes::Bytes;
use klamm_env::{BoxFuture, Disk, File, OpenMode};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::Poll;

expectations!(
    appended_bytes_are_there_after_opening_anew,
    a_read_ends_where_the_file_ends,
    writes_at_a_position_overwrite_and_fill_the_gap_with_zeros,
    truncation_cuts_and_extends_with_zeros,
    a_rename_replaces_what_has_the_name,
    a_removed_file_lives_on_in_its_open_handles,
    two_handles_are_one_file,
    directories_list_their_names_in_order,
    a_directory_goes_with_all_it_holds,
    a_renamed_directory_keeps_what_it_holds,
    errors_name_their_kind,
    renames_that_cannot_be_are_refused,
    paths_stay_below_the_root,
    an_operation_begins_with_its_first_poll_and_needs_no_more,
    appends_side_by_side_are_each_whole,
    megabytes_are_read_as_they_were_written,
);

async fn create(disk: &Arc<dyn Disk>, path: &str, content: &'static str) -> Arc<dyn File> {
    let file = disk.open(path, OpenMode::Create).await.unwrap();
    file.append(Bytes::from_static(content.as_bytes())).await.unwrap();
    file
}

async fn content(file: &Arc<dyn File>) -> String {
    String::from_utf8(file.read_at(0, u32::MAX).await.unwrap().to_vec()).unwrap()
}

async fn content_of(disk: &Arc<dyn Disk>, path: &str) -> String {
    content(&disk.open(path, OpenMode::Existing).await.unwrap()).await
}

async fn appended_bytes_are_there_after_opening_anew(stage: Stage) {
    let disk = &stage.server.disk;
    disk.create_dir("a/b").await.unwrap();
    let file = create(disk, "a/b/log", "one").await;
    file.append(Bytes::new()).await.unwrap();
    file.sync().await.unwrap();
    drop(file);
    disk.sync_dir("a/b").await.unwrap();
    let file = create(disk, "a/b/log", "two").await;
    assert_eq!((file.len().await.unwrap(), content(&file).await.as_str()), (6, "onetwo"));
    assert_eq!(content_of(disk, "a/b/log").await, "onetwo");
}

async fn a_read_ends_where_the_file_ends(stage: Stage) {
    let file = create(&stage.server.disk, "f", "0123456789").await;
    for (position, len, wanted) in [(0, 4, "0123"), (7, u32::MAX, "789"), (9, 1, "9"), (10, 1, ""), (3, 0, "")] {
        assert_eq!(file.read_at(position, len).await.unwrap(), wanted, "{position} {len}");
    }
    assert_eq!(file.read_at(1 << 40, 1).await.unwrap(), "");
    assert_eq!(file.read_at(u64::MAX, 1).await.unwrap(), "");
}

async fn writes_at_a_position_overwrite_and_fill_the_gap_with_zeros(stage: Stage) {
    let file = create(&stage.server.disk, "f", "0123456789").await;
    file.write_at(2, Bytes::from_static(b"ab")).await.unwrap();
    file.write_at(9, Bytes::from_static(b"xyz")).await.unwrap();
    assert_eq!(content(&file).await, "01ab45678xyz");
    file.write_at(14, Bytes::from_static(b"!")).await.unwrap();
    assert_eq!(content(&file).await, "01ab45678xyz\0\0!");
    file.append(Bytes::from_static(b"?")).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 16, "an append goes to the end, wherever one wrote before");
}

async fn truncation_cuts_and_extends_with_zeros(stage: Stage) {
    let file = create(&stage.server.disk, "f", "0123456789").await;
    file.truncate(4).await.unwrap();
    assert_eq!(content(&file).await, "0123");
    file.truncate(6).await.unwrap();
    assert_eq!(content(&file).await, "0123\0\0", "what was cut does not come back");
    file.append(Bytes::from_static(b"x")).await.unwrap();
    file.truncate(0).await.unwrap();
    assert_eq!((file.len().await.unwrap(), content(&file).await.as_str()), (0, ""));
}

async fn a_rename_replaces_what_has_the_name(stage: Stage) {
    let disk = &stage.server.disk;
    let old = create(disk, "state", "old").await;
    let new = create(disk, "state.tmp", "new").await;
    new.sync().await.unwrap();
    disk.rename("state.tmp", "state").await.unwrap();
    disk.sync_dir("").await.unwrap();
    assert_eq!(content_of(disk, "state").await, "new");
    assert_eq!((content(&old).await.as_str(), content(&new).await.as_str()), ("old", "new"));
    new.append(Bytes::from_static(b"er")).await.unwrap();
    assert_eq!(content_of(disk, "state").await, "newer", "a handle follows its file, not its name");
    assert_eq!(disk.list("").await.unwrap(), ["state"]);
    disk.rename("state", "state").await.unwrap();
    assert_eq!(content_of(disk, "state").await, "newer");
}

async fn a_removed_file_lives_on_in_its_open_handles(stage: Stage) {
    let disk = &stage.server.disk;
    let file = create(disk, "f", "one").await;
    disk.remove("f").await.unwrap();
    disk.remove("f").await.unwrap();
    file.append(Bytes::from_static(b"two")).await.unwrap();
    file.truncate(5).await.unwrap();
    file.sync().await.unwrap();
    assert_eq!((file.len().await.unwrap(), content(&file).await.as_str()), (5, "onetw"));
    assert_eq!(disk.list("").await.unwrap(), Vec::<String>::new());
    let other = create(disk, "f", "x").await;
    assert_eq!((content(&other).await.as_str(), content(&file).await.as_str()), ("x", "onetw"));
}

async fn two_handles_are_one_file(stage: Stage) {
    let disk = &stage.server.disk;
    let (one, two) = (create(disk, "f", "one").await, create(disk, "f", "two").await);
    one.append(Bytes::from_static(b"!")).await.unwrap();
    assert_eq!((content(&one).await.as_str(), content(&two).await.as_str()), ("onetwo!", "onetwo!"));
    drop(one);
    two.truncate(1).await.unwrap();
    assert_eq!(content_of(disk, "f").await, "o");
}

async fn directories_list_their_names_in_order(stage: Stage) {
    let disk = &stage.server.disk;
    for dir in ["d/z", "d/a", "d/m/deep"] {
        disk.create_dir(dir).await.unwrap();
        disk.create_dir(dir).await.unwrap();
    }
    for file in ["d/b", "d/B", "d/10", "d/9"] {
        create(disk, file, "").await;
    }
    assert_eq!(disk.list("d").await.unwrap(), ["10", "9", "B", "a", "b", "m", "z"]);
    assert_eq!(disk.list("").await.unwrap(), ["d"]);
    assert_eq!(disk.list("none").await.unwrap(), Vec::<String>::new());
}

async fn a_directory_goes_with_all_it_holds(stage: Stage) {
    let disk = &stage.server.disk;
    disk.create_dir("d/deep").await.unwrap();
    let file = create(disk, "d/deep/f", "kept").await;
    disk.remove_dir("d").await.unwrap();
    disk.remove_dir("d").await.unwrap();
    assert_eq!(disk.list("").await.unwrap(), Vec::<String>::new());
    assert_eq!(content(&file).await, "kept", "an open handle keeps its file");
    disk.create_dir("d").await.unwrap();
    assert_eq!(disk.list("d").await.unwrap(), Vec::<String>::new());
}

async fn a_renamed_directory_keeps_what_it_holds(stage: Stage) {
    let disk = &stage.server.disk;
    disk.create_dir("old").await.unwrap();
    let file = create(disk, "old/f", "one").await;
    disk.rename("old", "old-delete").await.unwrap();
    file.append(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(content_of(disk, "old-delete/f").await, "onetwo");
    assert_eq!(kind(disk.open("old/f", OpenMode::Existing).await), ErrorKind::NotFound);
    disk.create_dir("empty").await.unwrap();
    disk.rename("old-delete", "empty").await.unwrap();
    assert_eq!(disk.list("").await.unwrap(), ["empty"]);
}

async fn errors_name_their_kind(stage: Stage) {
    let disk = &stage.server.disk;
    disk.create_dir("d").await.unwrap();
    create(disk, "f", "").await;
    use ErrorKind::*;
    assert_eq!(kind(disk.open("none", OpenMode::Existing).await), NotFound);
    assert_eq!(kind(disk.open("no/f", OpenMode::Create).await), NotFound);
    assert_eq!(kind(disk.open("d", OpenMode::Existing).await), IsADirectory);
    assert_eq!(kind(disk.open("d", OpenMode::Create).await), IsADirectory);
    assert_eq!(kind(disk.open("f/x", OpenMode::Create).await), NotADirectory);
    assert_eq!(kind(disk.open("f/x", OpenMode::Existing).await), NotADirectory);
    assert_eq!(kind(disk.list("f").await), NotADirectory);
    assert_eq!(kind(disk.remove("d").await), IsADirectory);
    assert_eq!(kind(disk.remove_dir("f").await), NotADirectory);
    assert_eq!(kind(disk.sync_dir("no").await), NotFound);
    assert_eq!(kind(disk.create_dir("f/x").await), NotADirectory);
    stage.differs(&CREATE_DIR_OVER_A_FILE, kind(disk.create_dir("f").await), NotADirectory, AlreadyExists);
    let synced = disk.sync_dir("f").await.map_err(|error| error.kind());
    stage.differs(&SYNC_DIR_OF_A_FILE, synced, Err(NotADirectory), Ok(()));
}

async fn renames_that_cannot_be_are_refused(stage: Stage) {
    let disk = &stage.server.disk;
    disk.create_dir("d/inner").await.unwrap();
    disk.create_dir("e").await.unwrap();
    create(disk, "f", "").await;
    use ErrorKind::*;
    assert_eq!(kind(disk.rename("none", "g").await), NotFound);
    assert_eq!(kind(disk.rename("f", "no/g").await), NotFound);
    assert_eq!(kind(disk.rename("f", "d").await), IsADirectory);
    assert_eq!(kind(disk.rename("d", "f").await), NotADirectory);
    assert_eq!(kind(disk.rename("e", "d").await), DirectoryNotEmpty);
    assert_eq!(kind(disk.rename("d", "d/inner/d").await), InvalidInput);
    assert_eq!(disk.list("").await.unwrap(), ["d", "e", "f"], "and nothing moved");
}

async fn paths_stay_below_the_root(stage: Stage) {
    let disk = &stage.server.disk;
    create(disk, "f", "").await;
    for path in ["../f", "/f", "./f", "d/../f", "f/"] {
        assert_eq!(kind(disk.open(path, OpenMode::Existing).await), ErrorKind::InvalidInput, "{path}");
        assert_eq!(kind(disk.rename("f", path).await), ErrorKind::InvalidInput, "{path}");
        assert_eq!(kind(disk.create_dir(path).await), ErrorKind::InvalidInput, "{path}");
    }
    assert_eq!(disk.list("").await.unwrap(), ["f"], "and nothing was made on the way");
}

/// Polls it once.
/// Polls once; true if the operation is at its end already, and must not be polled again.
async fn begin(operation: &mut BoxFuture<io::Result<()>>) -> bool {
    poll_fn(|cx| {
        let early = operation.as_mut().poll(cx);
        assert!(matches!(early, Poll::Pending | Poll::Ready(Ok(()))), "{early:?}");
        Poll::Ready(early.is_ready())
    })
    .await
}

async fn an_operation_begins_with_its_first_poll_and_needs_no_more(stage: Stage) {
    let file = create(&stage.server.disk, "f", "").await;
    drop(file.append(Bytes::from_static(b"never polled")));
    let mut operation = file.append(Bytes::from_static(b"polled once"));
    begin(&mut operation).await;
    drop(operation);
    while file.len().await.unwrap() == 0 {
        stage.sleep_ms(1).await;
    }
    file.sync().await.unwrap();
    assert_eq!(content(&file).await, "polled once");
}

async fn appends_side_by_side_are_each_whole(stage: Stage) {
    let file = create(&stage.server.disk, "f", "").await;
    let mut operations: Vec<_> = (0..50u8).map(|n| file.append(Bytes::from(vec![n; 100]))).collect();
    let mut open = Vec::new();
    for mut operation in operations.drain(..) {
        if !begin(&mut operation).await {
            open.push(operation);
        }
    }
    for operation in open {
        operation.await.unwrap();
    }
    let bytes = file.read_at(0, u32::MAX).await.unwrap();
    let order: Vec<u8> = bytes.chunks(100).map(|chunk| chunk[0]).collect();
    assert!(bytes.chunks(100).all(|chunk| chunk.len() == 100 && chunk.iter().all(|byte| *byte == chunk[0])));
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<u8>>(), "each once");
    stage.differs(&ORDER_OF_UNAWAITED_WRITES, order == sorted, false, true);
}

async fn megabytes_are_read_as_they_were_written(stage: Stage) {
    let file = create(&stage.server.disk, "f", "").await;
    let bytes: Bytes = (0..3_000_000u32).map(|n| ((n * 7) >> 4) as u8).collect();
    for piece in 0..3 {
        file.append(bytes.slice(piece * 1_000_000..(piece + 1) * 1_000_000)).await.unwrap();
    }
    let mut read = vec![];
    while read.len() < bytes.len() {
        let piece = file.read_at(read.len() as u64, 700_001).await.unwrap();
        assert!(!piece.is_empty() && piece.len() <= 700_001);
        read.extend(piece);
    }
    assert!(read == bytes, "other bytes than were written on {:?}", stage.side);
}
