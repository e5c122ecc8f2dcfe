%% Erlang/OTP: the other side of `run.py bench actors`. Commands and answers as in worker.py.
%%
%% Messages and the ring go to plain processes, the least Erlang can do for one; asks, starts and
%% idle memory are those of a gen_server, and children those of a simple_one_for_one supervisor.
%% Usage: erl -noshell -s actor_bench main PAGE_BYTES BATCH CLIENTS RING
-module(actor_bench).
-export([main/1, start_fragile/1, start_idle/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

main(Arguments) ->
    [PageBytes, Batch, Clients, Ring] = [list_to_integer(atom_to_list(A)) || A <- Arguments],
    logger:set_primary_config(level, none),
    serve(#{page_bytes => PageBytes, batch => Batch, clients => Clients, ring => Ring}).

serve(Settings) ->
    case io:get_line("") of
        eof ->
            halt(0);
        Line ->
            [Name, Count] = string:lexemes(Line, " \n"),
            Value = measure(list_to_atom(Name), list_to_integer(Count), Settings),
            io:format("{\"value\": ~w}~n", [float(Value)]),
            serve(Settings)
    end.

measure(tells, Count, #{batch := Batch}) ->
    Sink = spawn_link(fun sink/0),
    Seconds = seconds(fun() ->
        repeat(Count div Batch, fun() ->
            repeat(Batch, fun() -> Sink ! message end),
            Sink ! {ask, self()},
            receive told -> ok end
        end)
    end),
    unlink(Sink),
    exit(Sink, kill),
    Count / Seconds;
measure(asks, Count, _) ->
    {ok, Server} = gen_server:start(?MODULE, echo, []),
    Seconds = seconds(fun() -> repeat(Count, fun() -> gen_server:call(Server, message) end) end),
    gen_server:stop(Server),
    Count / Seconds;
measure(concurrent_asks, Count, #{clients := Clients}) ->
    {ok, Server} = gen_server:start(?MODULE, echo, []),
    Each = Count div Clients,
    Client = fun() -> repeat(Each, fun() -> gen_server:call(Server, message) end) end,
    Seconds = seconds(fun() ->
        Started = [spawn_monitor(Client) || _ <- lists:seq(1, Clients)],
        [receive {'DOWN', Monitor, _, _, _} -> ok end || {_, Monitor} <- Started]
    end),
    gen_server:stop(Server),
    Each * Clients / Seconds;
measure(hops, Count, #{ring := Ring}) ->
    Main = self(),
    Links = [spawn_link(fun() -> receive {next, Next} -> link_loop(Next, Main) end end)
             || _ <- lists:seq(1, Ring)],
    [First | Rest] = Links,
    [Here ! {next, Next} || {Here, Next} <- lists:zip(Links, Rest ++ [First])],
    Seconds = seconds(fun() -> First ! Count, receive done -> ok end end),
    [begin unlink(Link), exit(Link, kill) end || Link <- Links],
    Count / Seconds;
measure(starts, Count, _) ->
    {Seconds, Servers} = timed(fun() -> start_many(Count) end),
    stop_many(Servers),
    Count / Seconds;
measure(idle_bytes, Count, #{page_bytes := PageBytes}) ->
    Before = resident_pages(),
    Servers = start_many(Count),
    Used = resident_pages() - Before,
    stop_many(Servers),
    Used * PageBytes / Count;
measure(restart_us, Count, _) ->
    Child = #{id => fragile, start => {?MODULE, start_fragile, [self()]}},
    Flags = #{strategy => one_for_one, intensity => 1000000, period => 1},
    {ok, Supervisor} = supervisor:start_link(?MODULE, {supervisor, Flags, [Child]}),
    receive {up, _} -> ok end,
    Sorted = lists:sort([restart_once() || _ <- lists:seq(1, Count)]),
    stop_supervisor(Supervisor),
    lists:nth(Count div 2 + 1, Sorted) / 1000;
measure(few_children_s, Count, _) ->
    children_s(Count);
measure(many_children_s, Count, _) ->
    children_s(Count).

sink() ->
    receive
        {ask, From} -> From ! told;
        message -> ok
    end,
    sink().

link_loop(Next, Main) ->
    receive
        0 -> Main ! done;
        Left -> Next ! Left - 1
    end,
    link_loop(Next, Main).

start_many(Count) ->
    [begin {ok, Server} = gen_server:start(?MODULE, echo, []), Server end
     || _ <- lists:seq(1, Count)].

stop_many(Servers) ->
    [exit(Server, kill) || Server <- Servers].

restart_once() ->
    gen_server:cast(fragile, crash),
    receive {crashed, Crashed} -> ok end,
    receive {up, Up} -> Up - Crashed end.

children_s(Count) ->
    Child = #{id => child, start => {?MODULE, start_idle, []}},
    seconds(fun() ->
        Flags = #{strategy => simple_one_for_one},
        {ok, Supervisor} = supervisor:start_link(?MODULE, {supervisor, Flags, [Child]}),
        repeat(Count, fun() -> {ok, _} = supervisor:start_child(Supervisor, []) end),
        stop_supervisor(Supervisor)
    end).

start_fragile(Main) -> gen_server:start_link({local, fragile}, ?MODULE, {fragile, Main}, []).
start_idle() -> gen_server:start_link(?MODULE, echo, []).

stop_supervisor(Supervisor) ->
    unlink(Supervisor),
    Monitor = monitor(process, Supervisor),
    exit(Supervisor, shutdown),
    receive {'DOWN', Monitor, _, _, _} -> ok end.

%% The callbacks of both behaviours: init/1 tells them apart by its argument.

init({supervisor, Flags, Children}) ->
    {ok, {Flags, Children}};
init({fragile, Main}) ->
    Main ! {up, erlang:monotonic_time(nanosecond)},
    {ok, Main};
init(echo) ->
    {ok, echo}.

handle_call(Message, _From, State) -> {reply, Message, State}.

handle_cast(crash, Main) ->
    Main ! {crashed, erlang:monotonic_time(nanosecond)},
    error(told_to).

handle_info(_Message, State) -> {noreply, State}.

repeat(0, _) -> ok;
repeat(Times, Do) -> Do(), repeat(Times - 1, Do).

seconds(Do) ->
    {Seconds, _} = timed(Do),
    Seconds.

timed(Do) ->
    Begin = erlang:monotonic_time(nanosecond),
    Result = Do(),
    {(erlang:monotonic_time(nanosecond) - Begin) / 1.0e9, Result}.

resident_pages() ->
    erlang:garbage_collect(),
    {ok, Line} = file:read_file("/proc/self/statm"),
    [_, Resident | _] = string:lexemes(binary_to_list(Line), " "),
    list_to_integer(Resident).
