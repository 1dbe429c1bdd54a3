/*
 * The change of primary (docs/protocol.md, sections 3, 4 and 6) as a model for spin: three nodes
 * and
 * an arbiter, ack = durable. check.sh runs it; README.md says what is left out.
 *
 * What is looked for, in each state that can be reached:
 *   (1) in each view one node at most commits, and once view n has committed, an earlier one
 *       commits only what the primary of view n has as well;
 *   (2) what was committed once is in the log of every later primary;
 *   (3) a read that a primary answers shows all that was committed before the read came;
 *   (4) what any two nodes hold as committed is the same.
 * An acknowledgement is a commit here: the stricter reading, as a commit may be seen by a reader.
 *
 * Messages. Whatever may be late without harm is one step of the model, as the receiver may take
 * that step at any later time or never: a Snapshot (the log of a primary only grows while it is one), a
 * view (a node takes the newest; one that takes an older one took it before the newer was made), a
 * report to the arbiter (compare-and-set on the view's number: it comes before the next view or is
 * refused). An acknowledgement may arrive after its sender asked, crashed or went on to another
 * view, so it is kept on the way: ack_view, ack_len, ack_lease.
 *
 * Time. A lease, once given, stays until the clocks say that it must have run out: when its giver
 * asks, suspects somebody for silence, or was waited for. All other lengths of time are arbitrary:
 * the arbiter may at any moment take anybody for silent.
 *
 * A crash and the restart of the process are one step: the log is cut to what is durable. The
 * arbiter learns of it with the Join, at any later time.
 */
#ifndef VIEWS
#define VIEWS 4 /* the highest number of a view */
#endif
#ifndef RECORDS
#define RECORDS 2 /* the longest log */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

#define N 3
#define AT(p, m) ((p) * 3 + (m))
#define LOG(i, k) ((i) * RECORDS + (k))

#define OUT 0
#define CANDIDATE 1
#define IN_SYNC 2
#define NOBODY 3

/* The arbiter's state: the view. */
byte view = 1;
byte primary = 0;
byte state[N];
byte joined[N];

/* Each node: its process. */
byte since[N];     /* first view that has this process; 0: it waits for one (Join) */
byte node_view[N]; /* the view that it is in, a copy; 0: none */
byte node_primary[N];
byte node_state[9];
byte node_joined[9];
byte session[N];    /* that has begun, as a member; 0: none */
byte asked[N];      /* the view in which it has asked for another primary */
byte log[N * RECORDS]; /* the view of each record; with its index it is the record's position */
byte log_len[N];
byte durable[N];
bool complete[N]; /* the store is */
byte commit[N];

/* As a primary, of each member. */
byte inherited[N];
byte heard[9]; /* 0: nothing in this session; else 1 + records vouched for */
bool counted[9];
bool lease[9];
bool told[N]; /* it has given its place away: no lease is of use until another view comes */
bool reads[N];    /* a read without lease waits */
byte read_all[N]; /* what it must show */
bool echoed[9];

/* On the way from a member m to a primary p. */
byte ack_view[9];
byte ack_len[9];
bool ack_lease[9];
bool ack_echo[9];

/* What has been committed by anybody, and the last view in which. */
byte truth[RECORDS];
byte truth_len;
byte truth_view;
byte truth_by = NOBODY;

byte crashes;
hidden byte a;
hidden byte b;
hidden byte same;

#define IS_PRIMARY(p) (node_view[p] != 0 && node_primary[p] == p)
#define SETTLED(p) (commit[p] >= inherited[p])
#define COUNTS(p, m) \
    (m != p && (node_state[AT(p, m)] == IN_SYNC || counted[AT(p, m)]))
#ifdef COUNT_LATE
#define COUNTS_NOW(p, m) (m != p && node_state[AT(p, m)] == IN_SYNC)
#else
#define COUNTS_NOW(p, m) COUNTS(p, m)
#endif
#define VOUCHED(p, m) (!COUNTS_NOW(p, m) || heard[AT(p, m)] > commit[p] + 1)
#define LEASED(p, m) (!told[p] && (!COUNTS_NOW(p, m) || lease[AT(p, m)]))
#define ECHOED(p, m) (!COUNTS_NOW(p, m) || echoed[AT(p, m)])
#define IN_SESSION(p, m) \
    (m != p && node_view[m] != 0 && node_primary[m] == p && node_view[p] == node_view[m] && \
     node_primary[p] == p && session[m] != 0 && session[m] == node_joined[AT(p, m)])
#ifdef ACK_AFTER_ASK
#define SILENT(m) false
#else
#define SILENT(m) (asked[m] == node_view[m])
#endif

/* Forgets, as a primary, what was heard of m. */
inline forget_member(p, m) {
    heard[AT(p, m)] = 0; counted[AT(p, m)] = false; lease[AT(p, m)] = false;
    echoed[AT(p, m)] = false;
}

inline forget_acks(p) {
    for (a : 0 .. 2) {
        ack_view[AT(p, a)] = 0; ack_len[AT(p, a)] = 0; ack_lease[AT(p, a)] = false;
        ack_echo[AT(p, a)] = false;
    }
    a = 0
}

/* The process is in no view. */
inline forget_view(i) {
    since[i] = 0; node_view[i] = 0; node_primary[i] = NOBODY; session[i] = 0; asked[i] = 0;
    inherited[i] = 0; told[i] = false; reads[i] = false; read_all[i] = 0;
    forget_acks(i);
    for (a : 0 .. 2) {
        node_state[AT(i, a)] = OUT; node_joined[AT(i, a)] = 0;
        forget_member(i, a)
    }
    a = 0
}

/* Time has gone by: nobody has a lease from m any longer, nor gets one by what is on its way. */
inline void_leases(m) {
    for (a : 0 .. 2) { lease[AT(a, m)] = false; ack_lease[AT(a, m)] = false; }
    a = 0
}

inline cut_log(i, to) {
    for (a : to .. RECORDS - 1) { log[LOG(i, a)] = 0; }
    log_len[i] = to;
    if
    :: durable[i] > to -> durable[i] = to
    :: else
    fi
}

/* same = how many records the two logs have in common. */
inline common(p, m) {
    same = 0;
    do
    :: same < log_len[p] && same < log_len[m] && log[LOG(p, same)] == log[LOG(m, same)] -> same++
    :: else -> break
    od
}

inline crash(i) {
    d_step {
        crashes < CRASHES ->
        crashes++;
        forget_view(i);
        if
        :: complete[i] -> cut_log(i, durable[i])
        :: else -> cut_log(i, 0)
        fi;
        commit[i] = 0;
    }
}

inline write(i) {
    d_step { durable[i] < log_len[i] -> durable[i]++ }
}

/* A view reaches node i. */
inline adopt(i) {
    d_step {
        since[i] != 0 && node_view[i] < view ->
        if
        :: state[i] == OUT -> forget_view(i)
        :: else ->
            if
            :: primary == i && (node_primary[i] != i || node_view[i] == 0) ->
                inherited[i] = log_len[i];
                for (b : 0 .. 2) { forget_member(i, b) }
                for (b : 0 .. RECORDS - 1) { /* (2) */
                    assert(b >= truth_len || log[LOG(i, b)] == truth[b]);
                }
                assert(complete[i]);
            :: primary == i && node_primary[i] == i && joined[i] != node_joined[AT(i, i)] ->
                inherited[i] = log_len[i]
            :: else
            fi;
            for (b : 0 .. 2) {
                if
                :: primary != i || joined[b] != node_joined[AT(i, b)] || state[b] == OUT ->
                    forget_member(i, b);
#ifdef VOUCH_EARLY
                    if
                    :: primary == i && state[b] == IN_SYNC -> heard[AT(i, b)] = log_len[i] + 1
                    :: else
                    fi;
#endif
                :: else
                fi;
                node_state[AT(i, b)] = state[b];
                node_joined[AT(i, b)] = joined[b];
            }
            if
            :: primary != i -> reads[i] = false; read_all[i] = 0; inherited[i] = 0
            :: else
            fi;
            if
            :: session[i] != joined[i] || primary == i -> session[i] = 0
            :: else
            fi;
            told[i] = false;
            node_view[i] = view;
            node_primary[i] = primary;
            forget_acks(i);
        fi
    }
}

/* The session of p with m begins: by the tail of the log, or by fetching all. A member in sync
 * never drops anything: it is suspected (suspect()). */
inline begin(p, m) {
    d_step {
        m != p && IS_PRIMARY(p) && node_view[m] == node_view[p] && node_primary[m] == p &&
            node_state[AT(p, m)] != OUT && session[m] == 0 &&
            node_joined[AT(p, m)] == node_joined[AT(m, m)] ->
        common(p, m);
        if
        :: node_state[AT(p, m)] == IN_SYNC && same < log_len[m] -> skip
        :: node_state[AT(p, m)] == IN_SYNC && same == log_len[m] -> session[m] = node_joined[AT(p, m)]
        :: node_state[AT(p, m)] == CANDIDATE && complete[m] && same == log_len[m] ->
            session[m] = node_joined[AT(p, m)]
        :: node_state[AT(p, m)] == CANDIDATE && complete[m] && same < log_len[m] ->
            assert(commit[m] <= same);
            complete[m] = false; /* until fetched() */
            cut_log(m, same);
            session[m] = node_joined[AT(p, m)]
        :: node_state[AT(p, m)] == CANDIDATE && !complete[m] ->
            cut_log(m, 0);
            for (b : 0 .. RECORDS - 1) {
                if
                :: b < commit[p] -> log[LOG(m, b)] = log[LOG(p, b)]
                :: else
                fi
            }
            log_len[m] = commit[p];
            session[m] = node_joined[AT(p, m)]
        fi
    }
}

inline fetched(m) {
    d_step { session[m] != 0 && !complete[m] && durable[m] == log_len[m] -> complete[m] = true }
}

inline update(p) {
    d_step {
        IS_PRIMARY(p) && log_len[p] < RECORDS ->
        log[LOG(p, log_len[p])] = node_view[p];
        log_len[p]++
    }
}

/* A Snapshot with the next record. */
inline take(p, m) {
    d_step {
        IN_SESSION(p, m) && !SILENT(m) && log_len[m] < log_len[p] ->
        log[LOG(m, log_len[m])] = log[LOG(p, log_len[m])];
        log_len[m]++
    }
}

/* The commit index of a Snapshot. */
inline learn(p, m) {
    d_step {
        IN_SESSION(p, m) && complete[m] && commit[m] < commit[p] && commit[m] < log_len[m] ->
        assert(log[LOG(m, commit[m])] == truth[commit[m]]); /* (4) */
        commit[m]++
    }
}

inline ack(p, m) {
    d_step {
        IN_SESSION(p, m) && complete[m] && !SILENT(m) &&
            (ack_view[AT(p, m)] == 0 || ack_len[AT(p, m)] != durable[m] || !ack_lease[AT(p, m)]
             || (reads[p] && !ack_echo[AT(p, m)])) &&
            (heard[AT(p, m)] != durable[m] + 1 || !lease[AT(p, m)] ||
             (reads[p] && !echoed[AT(p, m)])) ->
        ack_view[AT(p, m)] = node_view[m];
        ack_len[AT(p, m)] = durable[m];
        ack_lease[AT(p, m)] = true;
        ack_echo[AT(p, m)] = reads[p];
    }
}

inline on_ack(p, m) {
    d_step {
        IS_PRIMARY(p) && ack_view[AT(p, m)] == node_view[p] ->
        heard[AT(p, m)] = ack_len[AT(p, m)] + 1;
        lease[AT(p, m)] = lease[AT(p, m)] || ack_lease[AT(p, m)];
        echoed[AT(p, m)] = reads[p] && (echoed[AT(p, m)] || ack_echo[AT(p, m)]);
        ack_view[AT(p, m)] = 0; ack_len[AT(p, m)] = 0; ack_lease[AT(p, m)] = false;
        ack_echo[AT(p, m)] = false;
    }
}

inline commit_next(p) {
    d_step {
        IS_PRIMARY(p) && commit[p] < durable[p] && VOUCHED(p, 0) && VOUCHED(p, 1) &&
            VOUCHED(p, 2) ->
        b = commit[p];
        assert(truth_len <= b || truth[b] == log[LOG(p, b)]);      /* (4) */
        assert(truth_view != node_view[p] || truth_by == p);       /* (1) */
        assert(truth_view <= node_view[p] || log[LOG(truth_by, b)] == log[LOG(p, b)]);
        assert(log[LOG(primary, b)] == log[LOG(p, b)]);            /* (2) */
        if
        :: truth_len == b -> truth[b] = log[LOG(p, b)]; truth_len++
        :: else
        fi;
        if
        :: truth_view < node_view[p] -> truth_view = node_view[p]; truth_by = p
        :: else
        fi;
        commit[p]++
    }
}

/* (3) A read under the lease: it changes nothing. */
#ifdef READ_UNSETTLED
#define READABLE(p) IS_PRIMARY(p)
#else
#define READABLE(p) (IS_PRIMARY(p) && SETTLED(p))
#endif
inline read(p) {
    d_step {
        READABLE(p) && LEASED(p, 0) && LEASED(p, 1) && LEASED(p, 2) && commit[p] < truth_len ->
        assert(false)
    }
}

/* (3) A read without lease: all that count must have heard something sent after it came. */
inline read_comes(p) {
    d_step {
        IS_PRIMARY(p) && !reads[p] && !(LEASED(p, 0) && LEASED(p, 1) && LEASED(p, 2)) ->
        reads[p] = true;
        read_all[p] = truth_len;
        for (a : 0 .. 2) { echoed[AT(p, a)] = false; ack_echo[AT(p, a)] = false; }
        a = 0
    }
}

inline read_ends(p) {
    d_step {
        READABLE(p) && reads[p] && ECHOED(p, 0) && ECHOED(p, 1) && ECHOED(p, 2) ->
        assert(commit[p] >= read_all[p]);
        reads[p] = false;
        read_all[p] = 0;
        for (a : 0 .. 2) { echoed[AT(p, a)] = false; ack_echo[AT(p, a)] = false; }
        a = 0
    }
}

/* m has heard nothing of its primary for so long that no lease from it is left. */
inline ask(m) {
    d_step {
        node_view[m] != 0 && node_primary[m] != m && node_state[AT(m, m)] == IN_SYNC &&
            asked[m] != node_view[m] ->
        asked[m] = node_view[m];
        void_leases(m)
    }
}

/* A candidate that has come near enough is counted, and only then reported. */
inline count(p, m) {
    d_step {
        m != p && IS_PRIMARY(p) && node_state[AT(p, m)] == CANDIDATE && heard[AT(p, m)] != 0 &&
            !counted[AT(p, m)] ->
        counted[AT(p, m)] = true
    }
}

/* ---- The arbiter ---- */

#define REPORTS(p) (primary == p && IS_PRIMARY(p) && node_view[p] == view && view < VIEWS)

inline caught_up(p, m) {
    d_step {
        m != p && REPORTS(p) && state[m] == CANDIDATE && counted[AT(p, m)] &&
            heard[AT(p, m)] > commit[p] ->
        view++;
        state[m] = IN_SYNC
    }
}

/* For silence: the primary has waited so long that no lease that it gave itself, as a member of an
 * earlier view, is left. */
inline suspect(p, m) {
    d_step {
        m != p && REPORTS(p) && state[m] != OUT ->
        view++;
        state[m] = OUT; joined[m] = 0;
        void_leases(p)
    }
}

/* At the arbiter's wish (a leave, or a member that was started again), with the primary's word. */
inline let_go(p, m) {
    d_step {
        m != p && REPORTS(p) && state[m] == IN_SYNC ->
        view++;
        state[m] = OUT; joined[m] = 0;
    }
}

#ifdef DROP_UNASKED
#define MAY_JOIN(i) true
#else
#define MAY_JOIN(i) (state[i] != IN_SYNC)
#endif
inline join(i) {
    d_step {
        since[i] == 0 && view < VIEWS && i != primary && MAY_JOIN(i) ->
        view++;
        state[i] = CANDIDATE; joined[i] = view; since[i] = view
    }
}

inline handover(p, x) {
    d_step {
        x != p && REPORTS(p) && state[x] == IN_SYNC && since[x] != 0 ->
        view++;
#ifndef LEASE_AFTER_WORD
        told[p] = true;
#endif
        primary = x;
        for (a : 0 .. 2) {
            if
            :: state[a] != OUT -> joined[a] = view
            :: else
            fi
        }
        a = 0
    }
}

/* x is elected; s0, s1, s2: who is in sync in the new view. Each of them was so before, is alive or
 * came back with its store; the old primary only if it came back (its process is another). Which of
 * them has the longest log does not matter here. */
#ifdef ELECT_CANDIDATE
#define FIT(i) (state[i] != OUT && (state[i] == CANDIDATE || i != primary || since[i] == 0))
#else
#ifdef ELECT_DROPPED
#define FIT(i) (complete[i] && (i != primary || since[i] == 0))
#else
#define FIT(i) (state[i] == IN_SYNC && (i != primary || since[i] == 0))
#endif
#endif
#ifdef ELECT_UNASKED
#define MAY_ELECT(i) true
#else
#ifdef STALE_ASK
#define MAY_ELECT(i) (asked[i] != 0 || since[i] == 0)
#else
#define MAY_ELECT(i) (asked[i] == view || since[i] == 0)
#endif
#endif
inline elect(x, s0, s1, s2) {
    d_step {
        view < VIEWS && (!s0 || FIT(0)) && (!s1 || FIT(1)) && (!s2 || FIT(2)) &&
            (since[primary] == 0 || (s0 && MAY_ELECT(0)) || (s1 && MAY_ELECT(1)) ||
             (s2 && MAY_ELECT(2))) ->
        view++;
#ifndef NO_RETURN_WAIT
        /* Where nobody has asked, those that came back are waited for. */
        if
        :: s0 && since[0] == 0 -> void_leases(0)
        :: else
        fi;
        if
        :: s1 && since[1] == 0 -> void_leases(1)
        :: else
        fi;
        if
        :: s2 && since[2] == 0 -> void_leases(2)
        :: else
        fi;
#endif
        for (a : 0 .. 2) {
            if
            :: state[a] == CANDIDATE && since[a] != 0 -> joined[a] = view
            :: else -> state[a] = OUT; joined[a] = 0
            fi
        }
        if
        :: s0 -> state[0] = IN_SYNC; joined[0] = view; since[0] = (since[0] == 0 -> view : since[0])
        :: else
        fi;
        if
        :: s1 -> state[1] = IN_SYNC; joined[1] = view; since[1] = (since[1] == 0 -> view : since[1])
        :: else
        fi;
        if
        :: s2 -> state[2] = IN_SYNC; joined[2] = view; since[2] = (since[2] == 0 -> view : since[2])
        :: else
        fi;
        primary = x
    }
}

#define EACH(step) :: step(0) :: step(1) :: step(2)
#define EACH_PAIR(step) \
    :: step(0, 1) :: step(0, 2) :: step(1, 0) :: step(1, 2) :: step(2, 0) :: step(2, 1)

init {
    d_step {
        /* The cluster is there: P = 0 and S1 = 1 in sync, S2 = 2 as asked for below. */
        for (b : 0 .. 2) {
            state[b] = IN_SYNC;
#ifdef START_CANDIDATE
            if
            :: b == 2 -> state[b] = CANDIDATE
            :: else
            fi;
#endif
            joined[b] = 1; since[b] = 1; complete[b] = true;
            node_primary[b] = NOBODY;
        }
        b = 0;
    }
    do
    EACH(crash)
    EACH(write)
    EACH(adopt)
    EACH(fetched)
    EACH(update)
    EACH(commit_next)
    EACH(read)
#ifdef SLOW_READS
    EACH(read_comes)
    EACH(read_ends)
#endif
    EACH(ask)
    EACH(join)
    EACH_PAIR(begin)
    EACH_PAIR(take)
    EACH_PAIR(learn)
    EACH_PAIR(ack)
    EACH_PAIR(on_ack)
    EACH_PAIR(count)
    EACH_PAIR(caught_up)
    EACH_PAIR(suspect)
    EACH_PAIR(let_go)
    EACH_PAIR(handover)
    :: elect(0, true, false, false)
    :: elect(0, true, true, false)
    :: elect(0, true, false, true)
    :: elect(0, true, true, true)
    :: elect(1, false, true, false)
    :: elect(1, true, true, false)
    :: elect(1, false, true, true)
    :: elect(1, true, true, true)
    :: elect(2, false, false, true)
    :: elect(2, true, false, true)
    :: elect(2, false, true, true)
    :: elect(2, true, true, true)
    od
}
