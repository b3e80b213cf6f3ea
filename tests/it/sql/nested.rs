//! Fields and elements below nulls.

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;

use super::*;

/// Structs of which every second one is null, with something left under the nulls.
fn structs(rows: usize) -> StructArray {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(
        (0..rows as i64).map(|i| i % 10),
    ));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..rows).map(|i| format!("n{}", i % 7)),
    ));
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ];
    let valid = (0..rows).map(|i| i % 2 == 1).collect::<Vec<_>>();
    StructArray::new(fields.into(), vec![id, name], Some(NullBuffer::from(valid)))
}

#[tokio::test]
async fn fields_of_null_structs_are_null() {
    let rows = 20_000;
    let user = structs(rows);
    let outer = vec![Field::new("user", user.data_type().clone(), true)];
    let valid: Vec<bool> = (0..rows).map(|i| i % 3 != 0).collect();
    let outer = StructArray::new(
        outer.into(),
        vec![Arc::new(user.clone())],
        Some(NullBuffer::from(valid)),
    );
    let item = Arc::new(Field::new("item", user.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows));
    let valid: Vec<bool> = (0..rows).map(|i| i % 5 != 0).collect();
    let list = ListArray::new(
        item,
        offsets,
        Arc::new(user.clone()),
        Some(NullBuffer::from(valid)),
    );
    let fixed = Arc::new(Field::new("item", DataType::Int64, true));
    let valid: Vec<bool> = (0..rows).map(|i| i % 2 == 0).collect();
    let fixed = FixedSizeListArray::new(
        fixed,
        1,
        Arc::clone(user.column(0)),
        Some(NullBuffer::from(valid)),
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int64Array::from_iter_values(0..rows as i64))),
        ("user", Arc::new(user)),
        ("outer", Arc::new(outer)),
        ("list", Arc::new(list)),
        ("fixed", Arc::new(fixed)),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
            .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for profile in [Profile::Fast, Profile::Balanced, Profile::Archive] {
        let path = folder.path().join("t.pil");
        write(
            &path,
            &batch.schema(),
            std::slice::from_ref(&batch),
            profile,
        );
        let context = session(2);
        let count = async |condition: &str| {
            let from = format!(
                "SELECT count(*) FROM '{}' WHERE {condition}",
                path.display()
            );
            let rows = context.sql(&from).await.unwrap().collect().await.unwrap();
            rows[0].column(0).as_primitive::<Int64Type>().value(0)
        };
        let expected = |keep: &dyn Fn(usize) -> bool| (0..rows).filter(|&i| keep(i)).count() as i64;
        let user = |i: usize| i % 2 == 1;
        assert_eq!(
            count("\"user\"['id'] = 7").await,
            expected(&|i| user(i) && i % 10 == 7)
        );
        assert_eq!(count("\"user\"['id'] = 4").await, 0);
        assert_eq!(
            count("\"user\"['id'] IS NULL").await,
            expected(&|i| !user(i))
        );
        assert_eq!(
            count("\"user\"['name'] = 'n3'").await,
            expected(&|i| user(i) && i % 7 == 3)
        );
        assert_eq!(count("\"user\" IS NULL").await, expected(&|i| !user(i)));
        let inner = |i: usize| user(i) && !i.is_multiple_of(3);
        assert_eq!(
            count("outer['user']['id'] = 7").await,
            expected(&|i| inner(i) && i % 10 == 7)
        );
        assert_eq!(
            count("outer['user']['id'] IS NULL").await,
            expected(&|i| !inner(i))
        );
        let listed = |i: usize| user(i) && !i.is_multiple_of(5);
        assert_eq!(
            count("list[1]['id'] = 7").await,
            expected(&|i| listed(i) && i % 10 == 7)
        );
        assert_eq!(
            count("list[1]['id'] IS NULL").await,
            expected(&|i| !listed(i))
        );
        assert_eq!(count("fixed[1] = 4").await, expected(&|i| i % 10 == 4));
        assert_eq!(count("fixed[1] = 7").await, 0);
        let unnested = format!(
            "SELECT sum(e) FROM (SELECT unnest(fixed) AS e FROM '{}')",
            path.display()
        );
        let sum = context
            .sql(&unnested)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        let sum = sum[0].column(0).as_primitive::<Int64Type>().value(0);
        assert_eq!(
            sum,
            (0..rows as i64).step_by(2).map(|i| i % 10).sum::<i64>()
        );
    }
}
