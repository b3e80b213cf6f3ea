//! The specification: each encoding has its page, and the index lists it.

use std::path::Path;

use pilaster::encoding::Registry;

#[test]
fn every_encoding_has_its_page_and_the_index_lists_it() {
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("formats");
    let index = std::fs::read_to_string(formats.join("README.md")).unwrap();
    for encoding in Registry::standard().iter() {
        let (id, name) = (encoding.id(), encoding.name());
        let page = std::fs::read_to_string(formats.join(format!("{name}.md")));
        let page = page.unwrap_or_else(|e| panic!("formats/{name}.md: {e}"));
        assert!(page.starts_with(&format!("# `{id}`")), "formats/{name}.md");
        assert!(
            index.contains(&format!("[{name}]({name}.md)")),
            "{name} is not in formats/README.md"
        );
    }
}
