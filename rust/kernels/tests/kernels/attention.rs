//! Attention beside plain arithmetic, for every set of instructions that this processor has.

use candle_core::DType;
use std::sync::Arc;

use candle4j_kernels::{Instructions, KV_PAGE, KvCache, KvMemory, Queries, Strided, attend};
use half::{bf16, f16};

use crate::support::{instructions, numbers};

/// What a test is about.
#[derive(Debug, Clone, Copy)]
struct Case {
    rows: usize,
    heads: usize,
    kv_heads: usize,
    width: usize,
    positions: usize,
    window: Option<usize>,
    cap: Option<f32>,
    has_sinks: bool,
}

const CASES: [Case; 13] = [
    case(1, 9, 3, 64, 700, None),
    case(1, 4, 4, 8, 1, None),
    case(1, 6, 2, 100, 257, None),
    case(8, 2, 1, 128, 600, None),
    case(3, 14, 2, 16, 1030, Some(300)),
    case(2, 4, 1, 36, 513, Some(2)),
    case(40, 4, 2, 24, 300, None),
    case(100, 3, 1, 80, 100, Some(7)),
    case(33, 5, 5, 7, 290, Some(256)),
    capped(case(1, 6, 2, 64, 700, None)),
    capped(case(20, 4, 2, 24, 300, Some(64))),
    with_sinks(case(1, 6, 2, 64, 700, None)),
    with_sinks(case(20, 4, 2, 24, 300, Some(64))),
];

const fn with_sinks(case: Case) -> Case {
    Case {
        has_sinks: true,
        ..case
    }
}

const fn capped(case: Case) -> Case {
    Case {
        cap: Some(0.5),
        ..case
    }
}

const fn case(
    rows: usize,
    heads: usize,
    kv_heads: usize,
    width: usize,
    positions: usize,
    window: Option<usize>,
) -> Case {
    Case {
        rows,
        heads,
        kv_heads,
        width,
        positions,
        window,
        cap: None,
        has_sinks: false,
    }
}

/// What a number is once it was kept.
fn kept(dtype: DType, number: f32) -> f64 {
    match dtype {
        DType::F16 => f16::from_f32(number).to_f64(),
        DType::BF16 => bf16::from_f32(number).to_f64(),
        _ => number.into(),
    }
}

fn strided(numbers: &[f32], width: usize) -> Strided<'_> {
    Strided {
        numbers,
        stride: width,
        rows: numbers.len() / width,
        columns: width,
    }
}

/// Queries, keys and values of a case.
struct Data {
    case: Case,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    sinks: Vec<f32>,
}

impl Case {
    fn data(self) -> Data {
        Data {
            case: self,
            queries: numbers(self.rows * self.heads * self.width, 37),
            keys: numbers(self.positions * self.kv_heads * self.width, 71),
            values: numbers(self.positions * self.kv_heads * self.width, 113),
            sinks: numbers(self.heads, 41).iter().map(|x| 4.0 * x).collect(),
        }
    }

    fn scale(self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

impl Data {
    /// The keys and values in a cache with a little more room.
    fn cache(&self, instructions: Option<Instructions>, dtype: DType) -> KvCache {
        let Case {
            kv_heads,
            width,
            positions,
            ..
        } = self.case;
        let memory = Arc::default();
        let mut cache =
            KvCache::for_instructions(instructions, dtype, kv_heads, width, &memory).unwrap();
        cache.reserve(positions + 5);
        let row = kv_heads * width;
        cache.write(0, strided(&self.keys, row), strided(&self.values, row));
        cache
    }

    /// The rows from `start` on, `count` of them.
    fn queries<'a>(&'a self, cache: &'a KvCache, start: usize, count: usize) -> Queries<'a> {
        let row = self.case.heads * self.case.width;
        Queries {
            cache,
            rows: strided(&self.queries[start * row..][..count * row], row),
            heads: self.case.heads,
            first: self.case.positions - self.case.rows + start,
            causal: true,
            bias: None,
            window: self.case.window,
            scale: self.case.scale(),
            cap: self.case.cap,
            sinks: self.case.has_sinks.then_some(&self.sinks),
        }
    }

    fn attend(&self, cache: &KvCache, start: usize, count: usize) -> Vec<f32> {
        let mut out = vec![0f32; count * self.case.heads * self.case.width];
        attend(&[self.queries(cache, start, count)], &mut out);
        out
    }

    /// The same, number by number.
    fn plainly(&self, dtype: DType) -> Vec<f64> {
        let Case {
            rows,
            heads,
            kv_heads,
            width,
            positions,
            window,
            cap,
            has_sinks,
        } = self.case;
        let mut out = Vec::new();
        for (row, head) in (0..rows * heads).map(|index| (index / heads, index % heads)) {
            let query = &self.queries[(row * heads + head) * width..][..width];
            let place = |position: usize| {
                let start = (position * kv_heads + head * kv_heads / heads) * width;
                start..start + width
            };
            let end = positions - rows + row + 1;
            let seen = window.map_or(0, |window| end.saturating_sub(window))..end;
            let weights: Vec<f64> = seen
                .clone()
                .map(|position| {
                    let key = &self.keys[place(position)];
                    let score: f64 = query
                        .iter()
                        .zip(key)
                        .map(|(q, k)| f64::from(*q) * kept(dtype, *k))
                        .sum();
                    let score = score * f64::from(self.case.scale());
                    let capped = cap.map_or(score, |cap| {
                        let cap = f64::from(cap);
                        cap * (score / cap).tanh()
                    });
                    capped.exp()
                })
                .collect();
            let sink = match has_sinks {
                true => f64::from(self.sinks[head]).exp(),
                false => 0.0,
            };
            let total: f64 = weights.iter().sum::<f64>() + sink;
            for dimension in 0..width {
                let mixed: f64 = seen
                    .clone()
                    .zip(&weights)
                    .map(|(p, w)| w * kept(dtype, self.values[place(p)][dimension]))
                    .sum();
                out.push(mixed / total);
            }
        }
        out
    }
}

#[test]
fn it_is_what_plain_arithmetic_gives() {
    for case in CASES {
        let data = case.data();
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let expected = data.plainly(dtype);
            for instructions in instructions() {
                let cache = data.cache(instructions, dtype);
                let got = data.attend(&cache, 0, case.rows);
                assert_eq!(got.len(), expected.len());
                for (got, expected) in got.iter().zip(&expected) {
                    assert!(
                        (f64::from(*got) - expected).abs() < 1e-5,
                        "{case:?}, {dtype:?}, {instructions:?}: {got} instead of {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_answer_depends_on_its_own_row_alone() {
    for case in CASES {
        let data = case.data();
        for instructions in instructions() {
            let cache = data.cache(instructions, DType::F16);
            let together = data.attend(&cache, 0, case.rows);
            let alone: Vec<f32> = (0..case.rows)
                .flat_map(|row| data.attend(&cache, row, 1))
                .collect();
            assert_eq!(together, alone, "{case:?}, {instructions:?}");
        }
    }
}

#[test]
fn sequences_are_looked_at_together() {
    let all = CASES.map(Case::data);
    for instructions in instructions() {
        let caches = all
            .each_ref()
            .map(|data| data.cache(instructions, DType::F32));
        let queries: Vec<Queries> = all
            .iter()
            .zip(&caches)
            .map(|(data, cache)| data.queries(cache, 0, data.case.rows))
            .collect();
        let alone: Vec<f32> = all
            .iter()
            .zip(&caches)
            .flat_map(|(data, cache)| data.attend(cache, 0, data.case.rows))
            .collect();
        let mut together = vec![0f32; alone.len()];
        attend(&queries, &mut together);
        assert_eq!(together, alone, "{instructions:?}");
    }
}

#[test]
fn a_cache_keeps_what_was_written_when_it_grows() {
    let data = case(2, 4, 2, 20, 120, None).data();
    let row = 2 * 20;
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let mut grown = KvCache::new(dtype, 2, 20, &Arc::default()).unwrap();
        for position in 0..120 {
            grown.reserve(position + 1);
            let place = position * row..(position + 1) * row;
            let keys = strided(&data.keys[place.clone()], row);
            grown.write(position, keys, strided(&data.values[place], row));
        }
        let whole = data.cache(Instructions::detect(), dtype);
        assert_eq!(data.attend(&grown, 0, 2), data.attend(&whole, 0, 2));
    }
}

#[test]
fn k2_copies_share_pages_until_one_writes_and_all_memory_comes_back() {
    let data = case(1, 2, 1, 16, 40, None).data();
    let memory: Arc<KvMemory> = Arc::default();
    let mut cache = KvCache::new(DType::F16, 1, 16, &memory).unwrap();
    cache.reserve(40);
    cache.write(0, strided(&data.keys, 16), strided(&data.values, 16));
    let expected = data.attend(&cache, 0, 1);
    let page = cache.page_bytes();
    assert_eq!(memory.used(), 3 * page);

    let mut copy = cache.clone();
    assert_eq!(memory.used(), 3 * page);
    let other = [9f32; 16];
    copy.write(39, strided(&other, 16), strided(&other, 16));
    assert_eq!(memory.used(), 4 * page);
    assert_ne!(data.attend(&copy, 0, 1), expected);
    assert_eq!(data.attend(&cache, 0, 1), expected);

    copy.truncate(2 * KV_PAGE);
    assert_eq!(memory.used(), 3 * page);
    drop(cache);
    assert_eq!(memory.used(), 2 * page);
    drop(copy);
    assert_eq!(memory.used(), 0);
}

#[test]
fn k2_pages_before_a_window_can_be_given_up() {
    let data = case(1, 2, 1, 16, 100, Some(20)).data();
    let mut cache = data.cache(Instructions::detect(), DType::F32);
    let expected = data.attend(&cache, 0, 1);
    cache.drop_before(80);
    assert_eq!(cache.start(), 80);
    assert_eq!(data.attend(&cache, 0, 1), expected);
}

#[test]
fn what_was_written_behind_is_not_seen() {
    let data = case(1, 2, 1, 16, 30, None).data();
    for instructions in instructions() {
        let mut cache = data.cache(instructions, DType::F32);
        let expected = data.attend(&cache, 0, 1);
        let nan = [f32::NAN; 16];
        cache.write(30, strided(&nan, 16), strided(&nan, 16));
        assert_eq!(data.attend(&cache, 0, 1), expected, "{instructions:?}");
    }
}

#[test]
fn scores_that_are_no_numbers_show() {
    let data = case(1, 2, 1, 16, 30, None).data();
    for instructions in instructions() {
        for fault in [f32::NAN, f32::INFINITY] {
            let mut cache = data.cache(instructions, DType::F16);
            cache.write(7, strided(&[fault; 16], 16), strided(&[1.0; 16], 16));
            let got = data.attend(&cache, 0, 1);
            assert!(got.iter().all(|x| x.is_nan()), "{instructions:?}: {got:?}");
        }
    }
}

#[test]
fn other_types_are_refused() {
    assert!(KvCache::new(DType::F64, 1, 8, &Arc::default()).is_none());
}

#[test]
#[should_panic(expected = "room for 36 positions")]
fn what_there_is_no_room_for_cannot_be_seen() {
    let data = case(1, 2, 2, 16, 20, None).data();
    let mut cache = KvCache::new(DType::F32, 2, 16, &Arc::default()).unwrap();
    cache.reserve(20);
    cache.write(0, strided(&data.keys, 32), strided(&data.values, 32));
    let queries = Queries {
        first: 35,
        ..data.queries(&cache, 0, 1)
    };
    attend(&[queries], &mut [0f32; 32]);
}

#[test]
#[should_panic(expected = "3 heads over 2")]
fn heads_that_cannot_share_are_refused() {
    let data = case(1, 3, 2, 16, 20, None).data();
    let cache = data.cache(None, DType::F32);
    data.attend(&cache, 0, 1);
}
