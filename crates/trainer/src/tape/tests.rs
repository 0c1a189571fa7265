//! What the operations refuse, and what a gradient gathers.

use super::*;
use candle_core::{DType, Var};

#[test]
fn a_row_gathers_the_gradients_of_all_places_that_read_it() {
    let table = tensor(vec![0.5; 8], (4, 2)).unwrap();
    let embed = Embed { tokens: Arc::new(vec![2, 0, 2, 2]) };
    let gradient = tensor(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0], (4, 2)).unwrap();
    let of_table = embed.bwd(&table, &gradient, &gradient).unwrap().unwrap();
    let found = with_floats([&of_table], |[found]| found.to_vec()).unwrap();
    assert_eq!(found, [4.0, 8.0, 0.0, 0.0, 81.0, 162.0, 0.0, 0.0]);
}

#[test]
fn rows_are_read_where_a_view_of_them_begins() {
    let table = tensor((0..8_u8).map(f32::from).collect(), (4, 2)).unwrap();
    let last_two = table.narrow(0, 2, 2).unwrap();
    let found = with_floats([&last_two, &table], |[rows, all]| (rows.to_vec(), all.len()));
    assert_eq!(found.unwrap(), (vec![4.0, 5.0, 6.0, 7.0], 8));
    let rows = last_two.apply_op1(Embed { tokens: Arc::new(vec![1, 1, 0]) }).unwrap();
    assert_eq!(rows.to_vec2::<f32>().unwrap(), [[6.0, 7.0], [6.0, 7.0], [4.0, 5.0]]);
}

#[test]
fn what_is_not_dense_or_not_single_precision_is_an_error() {
    let table = tensor(vec![1.0; 6], (3, 2)).unwrap();
    for wrong in [table.t(), table.narrow(1, 0, 1), table.to_dtype(DType::F64)] {
        let wrong = wrong.unwrap();
        assert!(with_floats([&table, &wrong], |_| ()).is_err(), "{wrong:?}");
        assert!(wrong.apply_op1(Embed { tokens: Arc::new(vec![0]) }).is_err(), "{wrong:?}");
    }
}

#[test]
fn the_gradients_of_a_loss_are_taken_once() {
    let variable = |n_rows: usize, n_columns: usize| {
        let numbers = (0..n_rows * n_columns).map(|i| 0.1 * i as f32 - 0.2).collect();
        Var::from_tensor(&tensor(numbers, (n_rows, n_columns)).unwrap()).unwrap()
    };
    let (rows, weight) = (variable(2, 3), variable(4, 3));
    let gain = Var::from_tensor(&tensor(vec![1.0; 3], 3).unwrap()).unwrap();
    let op = NormHeadLoss { eps: 1e-5, targets: Arc::new(vec![3, 0]), gradients: Mutex::new(None) };
    let loss = rows.apply_op3(gain.as_tensor(), weight.as_tensor(), op).unwrap();
    let gradients = loss.backward().unwrap();
    for variable in [&rows, &gain, &weight] {
        let gradient = gradients.get(variable.as_tensor()).unwrap();
        assert_eq!(gradient.dims(), variable.dims());
    }
    let error = loss.backward().err().unwrap();
    assert!(error.to_string().contains("once"), "{error}");
}
