//! A choice between branches whose order is drawn.

/// The real `tokio::select!`, for [`select_by!`](crate::select_by).
#[doc(hidden)]
pub use tokio::select as tokio_select;

/// `tokio::select!` with its syntax (`pattern = future, if condition => handler`, `else => handler`, up to six branches),
/// where the branch that is polled first is drawn: `select_by! { draw; branches }` takes a `u64`, for example
/// `env.entropy.next_u64()`, which comes from the run's seed in a simulation and from the system otherwise. The others follow
/// in their written order, and around. It draws once where it is entered, not at each poll.
///
/// ```
/// # let ready = std::future::ready;
/// # let mut run = Box::pin(async {
/// let taken = klamm_env::select_by! { 1;
///     one = ready(1) => one,
///     two = ready(2) => two,
/// };
/// assert_eq!(taken, 2);
/// # });
/// # use std::task::{Context, Waker};
/// # assert!(run.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
/// # use std::future::Future;
/// ```
#[macro_export]
macro_rules! select_by {
    ($draw:expr; $($branches:tt)+) => { $crate::__select_by!(@parse $draw; []; []; $($branches)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __select_by {
    // Reads one branch after the other, as tokio does.
    (@parse $draw:expr; [$($b:tt)*]; []; else => $h:expr $(,)?) => { $crate::__select_by!(@turn $draw; [else => $h]; $($b)*) };
    (@parse $draw:expr; [$($b:tt)*]; [];) => { $crate::__select_by!(@turn $draw; []; $($b)*) };
    (@parse $draw:expr; [$($b:tt)*]; []; $p:pat = $f:expr, if $c:expr => $h:block, $($r:tt)*) => {
        $crate::__select_by!(@parse $draw; [$($b)* {$p = $f, if $c => { $h }}]; []; $($r)*)
    };
    (@parse $draw:expr; [$($b:tt)*]; []; $p:pat = $f:expr => $h:block, $($r:tt)*) => {
        $crate::__select_by!(@parse $draw; [$($b)* {$p = $f, if true => { $h }}]; []; $($r)*)
    };
    (@parse $draw:expr; [$($b:tt)*]; []; $p:pat = $f:expr, if $c:expr => $h:block $($r:tt)*) => {
        $crate::__select_by!(@parse $draw; [$($b)* {$p = $f, if $c => { $h }}]; []; $($r)*)
    };
    (@parse $draw:expr; [$($b:tt)*]; []; $p:pat = $f:expr => $h:block $($r:tt)*) => {
        $crate::__select_by!(@parse $draw; [$($b)* {$p = $f, if true => { $h }}]; []; $($r)*)
    };
    (@parse $draw:expr; [$($b:tt)*]; []; $p:pat = $f:expr, if $c:expr => $h:expr) => {
        $crate::__select_by!(@parse $draw; [$($b)* {$p = $f, if $c => { $h }}]; [];)
    };
    (@parse $draw:expr; [$($b:tt)*]; []; $p:pat = $f:expr => $h:expr) => {
        $crate::__select_by!(@parse $draw; [$($b)* {$p = $f, if true => { $h }}]; [];)
    };
    (@parse $draw:expr; [$($b:tt)*]; []; $p:pat = $f:expr, if $c:expr => $h:expr, $($r:tt)*) => {
        $crate::__select_by!(@parse $draw; [$($b)* {$p = $f, if $c => { $h }}]; []; $($r)*)
    };
    (@parse $draw:expr; [$($b:tt)*]; []; $p:pat = $f:expr => $h:expr, $($r:tt)*) => {
        $crate::__select_by!(@parse $draw; [$($b)* {$p = $f, if true => { $h }}]; []; $($r)*)
    };

    // All turns of the branches; the draw takes one of them.
    (@turn $draw:expr; $e:tt; $a:tt) => { $crate::__select_by!(@go $e $a) };
    (@turn $draw:expr; $e:tt; $a:tt $b:tt) => {
        match $draw % 2 {
            0 => $crate::__select_by!(@go $e $a $b),
            _ => $crate::__select_by!(@go $e $b $a),
        }
    };
    (@turn $draw:expr; $e:tt; $a:tt $b:tt $c:tt) => {
        match $draw % 3 {
            0 => $crate::__select_by!(@go $e $a $b $c),
            1 => $crate::__select_by!(@go $e $b $c $a),
            _ => $crate::__select_by!(@go $e $c $a $b),
        }
    };
    (@turn $draw:expr; $e:tt; $a:tt $b:tt $c:tt $d:tt) => {
        match $draw % 4 {
            0 => $crate::__select_by!(@go $e $a $b $c $d),
            1 => $crate::__select_by!(@go $e $b $c $d $a),
            2 => $crate::__select_by!(@go $e $c $d $a $b),
            _ => $crate::__select_by!(@go $e $d $a $b $c),
        }
    };
    (@turn $draw:expr; $e:tt; $a:tt $b:tt $c:tt $d:tt $f:tt) => {
        match $draw % 5 {
            0 => $crate::__select_by!(@go $e $a $b $c $d $f),
            1 => $crate::__select_by!(@go $e $b $c $d $f $a),
            2 => $crate::__select_by!(@go $e $c $d $f $a $b),
            3 => $crate::__select_by!(@go $e $d $f $a $b $c),
            _ => $crate::__select_by!(@go $e $f $a $b $c $d),
        }
    };
    (@turn $draw:expr; $e:tt; $a:tt $b:tt $c:tt $d:tt $f:tt $g:tt) => {
        match $draw % 6 {
            0 => $crate::__select_by!(@go $e $a $b $c $d $f $g),
            1 => $crate::__select_by!(@go $e $b $c $d $f $g $a),
            2 => $crate::__select_by!(@go $e $c $d $f $g $a $b),
            3 => $crate::__select_by!(@go $e $d $f $g $a $b $c),
            4 => $crate::__select_by!(@go $e $f $g $a $b $c $d),
            _ => $crate::__select_by!(@go $e $g $a $b $c $d $f),
        }
    };

    (@go [$($e:tt)*] $({$($b:tt)*})+) => { $crate::select::tokio_select! { biased; $($($b)*,)+ $($e)* } };
}
