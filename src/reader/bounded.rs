//! A list that keeps the smallest items it was given, up to a limit, and knows whether it left any out.
//!
//! What it holds in the end depends only on what it was given, never on the order, nor on how the
//! items were divided among lists that were merged: the property that lets ranges of one log be read
//! in parallel with one result.

/// Something to be kept once for each key.
pub(super) trait Keyed: Copy {
    /// What makes two items the same.
    type Key: Ord;
    fn key(&self) -> Self::Key;

    /// Where it stood: of two items that are the same, the one in the lower slot is kept.
    fn slot(&self) -> u32;
}

/// The `limit` smallest keys among all items that were pushed, each with its item in the lowest slot.
#[derive(Clone, Debug)]
pub(super) struct Bounded<T> {
    items: Vec<T>,
    limit: usize,
    /// No item above this one can be among the smallest any more.
    ceiling: Option<T>,
    overflowed: bool,
}

impl<T: Keyed> Bounded<T> {
    pub(super) fn new(limit: usize) -> Bounded<T> {
        Bounded { items: Vec::new(), limit, ceiling: None, overflowed: false }
    }

    pub(super) fn push(&mut self, item: T) {
        if self.ceiling.is_some_and(|ceiling| item.key() > ceiling.key()) {
            self.overflowed = true;
            return;
        }
        self.items.push(item);
        // An eighth above the limit: the memory stays bounded, and a sort pays for many items.
        if self.items.len() > self.limit + self.limit / 8 {
            self.settle();
        }
    }

    pub(super) fn merge(&mut self, other: Bounded<T>) {
        self.overflowed |= other.overflowed;
        for item in other.items {
            self.push(item);
        }
    }

    fn settle(&mut self) {
        // In place: a stable sort would take half as much memory again.
        self.items.sort_unstable_by_key(|item| (item.key(), item.slot()));
        self.items.dedup_by(|later, kept| later.key() == kept.key());
        if self.items.len() > self.limit {
            self.items.truncate(self.limit);
            self.overflowed = true;
        }
        if self.items.len() == self.limit {
            self.ceiling = self.items.last().copied();
        }
    }

    /// The items in their order, and whether some were left out.
    pub(super) fn finish(mut self) -> (Vec<T>, bool) {
        self.settle();
        (self.items, self.overflowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Number and slot: items with one number are the same.
    type Item = (u8, u8);

    impl Keyed for Item {
        type Key = u8;
        fn key(&self) -> u8 {
            self.0
        }

        fn slot(&self) -> u32 {
            self.1.into()
        }
    }

    #[derive(Clone, Copy)]
    struct Wide(u32);

    impl Keyed for Wide {
        type Key = u32;
        fn key(&self) -> u32 {
            self.0
        }

        fn slot(&self) -> u32 {
            0
        }
    }

    fn filled(items: &[Item], limit: usize) -> Bounded<Item> {
        let mut list = Bounded::new(limit);
        items.iter().for_each(|item| list.push(*item));
        list
    }

    proptest! {
        #[test]
        fn order_and_division_do_not_matter(
            items in prop::collection::vec(any::<Item>(), 0..300),
            limit in 1..100usize,
            cut in any::<prop::sample::Index>(),
            rotate in any::<prop::sample::Index>(),
        ) {
            let expected = filled(&items, limit).finish();
            let mut shuffled = items.clone();
            if !items.is_empty() {
                shuffled.rotate_left(rotate.index(items.len()));
            }
            let (left, right) = shuffled.split_at(cut.index(items.len() + 1));
            let mut merged = filled(right, limit);
            merged.merge(filled(left, limit));
            prop_assert_eq!(merged.finish(), expected);
        }
    }

    #[test]
    fn the_smallest_are_kept_and_the_rest_is_admitted() {
        let items = [(5, 1), (3, 2), (3, 1), (9, 0), (1, 7)];
        assert_eq!(filled(&items, 3).finish(), (vec![(1, 7), (3, 1), (5, 1)], true));
        assert!(!filled(&items, 4).finish().1);
        for [mut list, other] in
            [[&items[..], &[]], [&[], &items]].map(|two| two.map(|items| filled(items, 3)))
        {
            list.merge(other);
            assert!(list.finish().1, "one of two left something out");
        }
    }

    #[test]
    fn what_cannot_be_kept_takes_no_memory() {
        let mut list = Bounded::new(64);
        let lengths = (0..2000_u32).map(|number| {
            list.push(Wide(2000 - number));
            list.items.len()
        });
        assert_eq!(lengths.max(), Some(72), "an eighth above the limit, and no sort before that");
        assert_eq!(list.ceiling.map(|item| item.0 >= 64), Some(true));
        let before = list.items.len();
        (0..1000).for_each(|number| list.push(Wide(5000 + number)));
        assert_eq!(list.items.len(), before, "none of these can be among the smallest");
    }

    #[test]
    fn one_item_given_often_is_one_item() {
        let mut list = filled(&[(1, 1); 10], 8);
        list.push((2, 2));
        assert_eq!(list.finish(), (vec![(1, 1), (2, 2)], false));
    }
}
