//! Codecs: round trips, caps, and bytes that lie.

use antiphon_records::{Compression, DecompressError, compress, decompress};
use proptest::prelude::*;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn is_too_large(result: &Result<Vec<u8>, DecompressError>) -> bool {
    matches!(result, Err(DecompressError::TooLarge { .. }))
}

fn is_malformed(result: &Result<Vec<u8>, DecompressError>) -> bool {
    matches!(result, Err(DecompressError::Malformed { .. }))
}

#[test]
fn a_bomb_is_capped() {
    let zeros = vec![0; 32 << 20];
    for codec in CODECS {
        let bomb = compress(codec, &zeros).expect("compresses");
        let defused = decompress(codec, &bomb, 64 * 1024);
        assert!(is_too_large(&defused), "{codec:?}: {:?}", defused.map(|out| out.len()));
    }
}

#[test]
fn the_cap_is_exact() {
    let bytes: Vec<u8> = (0..70_000u32).map(|i| (i % 251) as u8).collect();
    for codec in CODECS {
        let compressed = compress(codec, &bytes).expect("compresses");
        assert_eq!(decompress(codec, &compressed, bytes.len()).expect("fits"), bytes);
        assert!(is_too_large(&decompress(codec, &compressed, bytes.len() - 1)), "{codec:?}");
    }
}

#[test]
fn nothing_compresses_to_something_that_reads_as_nothing() {
    for codec in CODECS {
        let compressed = compress(codec, &[]).expect("compresses");
        assert_eq!(decompress(codec, &compressed, 10).expect("reads"), b"", "{codec:?}");
    }
}

#[test]
fn a_body_cut_short_is_refused() {
    let bytes: Vec<u8> = (0..60_000u32).map(|i| (i * i % 251) as u8).collect();
    for codec in CODECS.into_iter().skip(1) {
        let compressed = compress(codec, &bytes).expect("compresses");
        let cut = &compressed[..compressed.len() - 9];
        assert!(is_malformed(&decompress(codec, cut, 1 << 20)), "{codec:?}");
    }
}

#[test]
fn raw_snappy_is_read_as_librdkafka_writes_it() {
    let bytes = b"call and response, call and response, call and response".repeat(50);
    let raw = snap::raw::Encoder::new().compress_vec(&bytes).expect("compresses");
    assert_eq!(decompress(Compression::Snappy, &raw, 1 << 20).expect("reads"), bytes);
}

#[test]
fn snappys_lies_about_length_are_refused_without_allocating() {
    // 4 GiB - 1 claimed by a raw block of six bytes, with a cap that would allow it.
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    assert!(is_malformed(&decompress(Compression::Snappy, &claim, usize::MAX)));
    // A negative and an overlong block in xerial framing.
    for length in [-1i32, i32::MAX] {
        let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        framed.extend_from_slice(&length.to_be_bytes());
        framed.push(0);
        assert!(is_malformed(&decompress(Compression::Snappy, &framed, usize::MAX)));
    }
    assert!(is_malformed(&decompress(Compression::Snappy, b"\x82SNAPPY\0\0\0", 100)));
}

#[test]
fn codec_numbers_are_those_of_the_attributes() {
    for codec in CODECS {
        assert_eq!(Compression::from_id(codec.id()), Ok(codec));
    }
    for unknown in 5..=7 {
        assert!(Compression::from_id(unknown).is_err());
    }
}

fn any_codec() -> impl Strategy<Value = Compression> {
    prop::sample::select(CODECS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bodies_round_trip(codec in any_codec(), seed: Vec<u8>, times in 1..200usize) {
        let bytes = seed.repeat(times);
        let compressed = compress(codec, &bytes).expect("compresses");
        let back = decompress(codec, &compressed, bytes.len()).expect("decompresses");
        prop_assert_eq!(back, bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic_nor_exceed_the_cap(codec in any_codec(), bytes: Vec<u8>) {
        if let Ok(out) = decompress(codec, &bytes, 1000) {
            prop_assert!(out.len() <= 1000);
        }
    }

    #[test]
    fn damaged_bodies_never_panic(
        codec in any_codec(),
        seed in prop::collection::vec(any::<u8>(), 1..100),
        at: prop::sample::Index,
        flip in 1..=255u8,
    ) {
        let mut compressed = compress(codec, &seed.repeat(20)).expect("compresses");
        let at = at.index(compressed.len());
        compressed[at] ^= flip;
        if let Ok(out) = decompress(codec, &compressed, 10_000) {
            prop_assert!(out.len() <= 10_000);
        }
    }
}
