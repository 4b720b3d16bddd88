#!/usr/bin/env escript
%%! +S 1 -kernel logger_level emergency
%% Client and server of the protocol of erps 0.7, independent of the library. Like Elixir's erps, both take
%% what one `recv` returns as one packet. Tests send terms to standard input, and read one term per line
%% from standard output.
%%
%%   peer.escript client PORT TRANSPORT [IDENTIFIER VERSION]
%%   peer.escript server TRANSPORT [IDENTIFIER]
%%
%% TRANSPORT is `tcp`, or `tlsv1.2:DIR` or `tlsv1.3:DIR`; the directory holds `ca`, `certificate`
%% and `key`.

-define(KEEPALIVE, 0).
-define(ERROR, 1).
-define(REPLY, 2).
-define(PUSH, 3).
-define(CALL, 4).
-define(CAST, 8).

%% The interval at which Elixir's client reads its socket, in milliseconds.
-define(WINDOW, 100).
%% How long to wait after the last packet before no more are expected, in milliseconds.
-define(QUIET, 1500).
-define(REPLY_TIMEOUT, 5000).

-record(end_, {mod, socket, version = {0, 0, 0}, identifier = <<>>, options = []}).

main(["client", Port, Transport | Rest]) ->
    {Mod, Options} = transport(Transport, []),
    Result = Mod:connect("localhost", list_to_integer(Port),
        [binary, {active, false}, {nodelay, true} | Options], 5000),
    case Result of
        {ok, Socket} ->
            End = identity(#end_{mod = Mod, socket = Socket}, Rest),
            say(connected),
            client(End, 1);
        {error, Reason} ->
            say({refused, Reason})
    end;
main(["server", Transport | Rest]) ->
    {Mod, Options} = transport(Transport, [{fail_if_no_peer_cert, true}]),
    {ok, Listener} = Mod:listen(0,
        [binary, {active, false}, {nodelay, true}, {reuseaddr, true}, {backlog, 5} | Options]),
    {ok, {_, Port}} = case Mod of
        gen_tcp -> inet:sockname(Listener);
        ssl -> ssl:sockname(Listener)
    end,
    say(Port),
    Identifier = case Rest of [Name] -> list_to_binary(Name); [] -> any end,
    ets:new(seen, [named_table, public]),
    spawn_link(fun() -> accept(Mod, Listener, Identifier) end),
    until_closed().

identity(End, []) -> End;
identity(End, [Identifier, Version]) ->
    [Major, Minor, Patch] = [list_to_integer(N) || N <- string:split(Version, ".", all)],
    End#end_{identifier = list_to_binary(Identifier), version = {Major, Minor, Patch}}.

transport("tcp", _) -> {gen_tcp, []};
transport("tlsv1." ++ [Minor, $: | Dir], Options) ->
    case application:ensure_all_started(ssl) of
        {ok, _} -> ok;
        {error, _} -> say(no_ssl), halt()
    end,
    {ssl, [{versions, [list_to_atom("tlsv1." ++ [Minor])]},
        {cacertfile, Dir ++ "/ca"}, {certfile, Dir ++ "/certificate"}, {keyfile, Dir ++ "/key"},
        {verify, verify_peer} | Options]}.

say(Term) -> io:format("~0p~n", [Term]).

%% A server runs until its standard input is closed.
until_closed() ->
    case io:get_line("") of
        eof -> ok;
        _ -> until_closed()
    end.

%%
%% Packets
%%

packet(_, ?KEEPALIVE, _) -> <<"erps", 0:32, 0>>;
packet(#end_{version = {Major, Minor, Patch}} = End, Kind, Term) ->
    Payload = term_to_binary(Term, End#end_.options),
    Padding = 8 * (36 - byte_size(End#end_.identifier)),
    <<"erps", (byte_size(Payload)):32, Kind, Major, Minor, Patch,
        (End#end_.identifier)/binary, 0:Padding, 0:128, 0:256, Payload/binary>>.

send(#end_{mod = Mod, socket = Socket} = End, Kind, Term) ->
    Mod:send(Socket, packet(End, Kind, Term)).

%% What one `recv` returns is one packet, or the start of one. Bytes beyond that are an error and are
%% discarded.
recv(#end_{mod = Mod, socket = Socket} = End, Timeout) ->
    case Mod:recv(Socket, 0, Timeout) of
        {ok, <<"erps", 0:32, ?KEEPALIVE>>} -> {?KEEPALIVE, <<>>, nil, 0};
        {ok, <<"erps", Size:32, Rest/binary>>} -> recv_rest(End, Size + 88, Rest);
        {ok, _} -> {error, einval};
        {error, Reason} -> {error, Reason}
    end.

recv_rest(_, Size, Packet) when byte_size(Packet) =:= Size ->
    <<Kind, _Version:3/binary, Identifier:36/binary, 0:384, Payload/binary>> = Packet,
    Name = hd(binary:split(Identifier, <<0>>)),
    Form = case Payload of <<131, Tag, _/binary>> -> Tag end,
    {Kind, Name, binary_to_term(Payload), Form};
recv_rest(_, Size, Packet) when byte_size(Packet) > Size ->
    {error, einval};
recv_rest(#end_{mod = Mod, socket = Socket} = End, Size, Packet) ->
    case Mod:recv(Socket, Size - byte_size(Packet), 500) of
        {ok, More} -> recv_rest(End, Size, <<Packet/binary, More/binary>>);
        {error, Reason} -> {error, Reason}
    end.

%%
%% The client
%%

client(End, Ref) ->
    case io:read("") of
        eof -> ok;
        {ok, Command} ->
            {Answer, Next} = obey(Command, End, Ref),
            say(Answer),
            client(Next, Ref + 1000)
    end.

%% Sets the options of `term_to_binary`.
obey({options, Options}, End, _) ->
    {ok, End#end_{options = Options}};
obey(keepalive, End, _) ->
    {send(End, ?KEEPALIVE, nil), End};
obey({cast, Term}, End, _) ->
    {send(End, ?CAST, Term), End};
obey({raw, Bytes}, #end_{mod = Mod, socket = Socket} = End, _) ->
    {Mod:send(Socket, Bytes), End};
obey({call, Term}, End, Ref) ->
    {call(End, Ref, Term), End};
%% A call whose reference is not a number.
obey({call, Term, OwnRef}, End, _) ->
    {call(End, OwnRef, Term), End};
%% Like a call, but returns the tag of the reply's payload.
obey({form, Term}, End, Ref) ->
    ok = send(End, ?CALL, {Ref, Term}),
    {answer(End, Ref, deadline(?REPLY_TIMEOUT), fun(_, Form) -> Form end), End};
%% Echoes many terms, and returns the first that differs.
obey(echo_all, End, Ref) ->
    {echo_all(End, Ref, terms(), 0), End};
%% Sends calls without waiting for replies, as concurrent callers do; then listens.
obey({calls, Terms}, End, Ref) ->
    Refs = lists:seq(Ref, Ref + length(Terms) - 1),
    [ok = send(End, ?CALL, Call) || Call <- lists:zip(Refs, Terms)],
    {listen(End, [], 0, deadline(?QUIET)), End};
obey(listen, End, _) ->
    {listen(End, [], 0, deadline(?QUIET)), End};
obey(close, #end_{mod = Mod, socket = Socket} = End, _) ->
    {Mod:close(Socket), End}.

deadline(Timeout) -> erlang:monotonic_time(millisecond) + Timeout.

is_over(Deadline) -> erlang:monotonic_time(millisecond) > Deadline.

call(End, Ref, Term) ->
    ok = send(End, ?CALL, {Ref, Term}),
    answer(End, Ref, deadline(?REPLY_TIMEOUT), fun(Reply, _) -> {reply, Reply} end).

answer(End, Ref, Deadline, Take) ->
    case recv(End, ?WINDOW) of
        {?REPLY, _, {Reply, Ref}, Form} -> Take(Reply, Form);
        {?ERROR, _, {Reason, Ref}, _} -> {error, Reason};
        {?ERROR, _, Reason, _} -> {logged, Reason};
        {error, Reason} when Reason =/= timeout -> {lost, Reason};
        _ ->
            case is_over(Deadline) of
                true -> timeout;
                false -> answer(End, Ref, Deadline, Take)
            end
    end.

%% Returns what arrives until nothing more does, and how often more than one packet arrived in a window.
listen(End, Heard, Lost, Deadline) ->
    timer:sleep(?WINDOW),
    case {recv(End, 10), is_over(Deadline)} of
        {{?PUSH, _, Term, _}, _} -> listen(End, [Term | Heard], Lost, deadline(?QUIET));
        {{?REPLY, _, {Reply, _}, _}, _} -> listen(End, [Reply | Heard], Lost, deadline(?QUIET));
        {{error, einval}, _} -> listen(End, Heard, Lost + 1, deadline(?QUIET));
        {{error, timeout}, false} -> listen(End, Heard, Lost, Deadline);
        {{error, timeout}, true} -> {heard, lists:reverse(Heard), Lost};
        {{error, Reason}, _} -> {lost, Reason, lists:reverse(Heard)}
    end.

echo_all(_, _, [], Count) -> {echoed, Count};
echo_all(End, Ref, [Term | Rest], Count) ->
    case call(End, Ref, {echo, Term}) of
        {reply, Same} when Same =:= Term -> echo_all(End, Ref + 1, Rest, Count + 1);
        Other -> {changed, Term, Other}
    end.

terms() ->
    [nil, true, ok, 'an atom', '', list_to_atom([1046, 228]), 'Elixir.Some.Module',
        0, 255, 256, -1, -129, 1 bsl 31, -(1 bsl 31), (1 bsl 63) - 1, -(1 bsl 63), 1 bsl 63, 1 bsl 64,
        -(1 bsl 64), 1 bsl 2100, -(3 bsl 3000),
        1.5, -0.1, 1.0e300, 5.0e-324,
        <<>>, <<"binary">>, <<0, 255>>, <<"gr\x{fc}n"/utf8>>, binary:copy(<<"x">>, 100000),
        <<1:1>>, <<5:3>>, <<"ab", 3:7>>,
        [], [1, 2, 3], "charlist", [1046, 1047], [300, a, 2.0], lists:seq(1, 300), lists:duplicate(70000, 7),
        [a | b], [1, 2 | 3], ["x" | <<"y">>],
        {}, {a}, {a, {b, {c}}}, list_to_tuple(lists:seq(1, 300)),
        #{}, #{a => 1, <<"b">> => 2, 3 => [4], {c} => #{}}, #{1 => a, 1.0 => b},
        maps:from_list([{N, N} || N <- lists:seq(1, 100)]),
        #{'__struct__' => 'Elixir.Point', x => 1, y => -1},
        [{key, 1}, {list, 2}], make_ref(), self()].

%%
%% The server
%%

accept(gen_tcp, Listener, Identifier) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    serve(gen_tcp, Socket, Identifier),
    accept(gen_tcp, Listener, Identifier);
accept(ssl, Listener, Identifier) ->
    {ok, Accepted} = ssl:transport_accept(Listener),
    case ssl:handshake(Accepted, 5000) of
        {ok, Socket} -> serve(ssl, Socket, Identifier);
        {error, _} -> refused
    end,
    accept(ssl, Listener, Identifier).

serve(Mod, Socket, Identifier) ->
    Server = spawn(fun() ->
        receive go -> handle(#end_{mod = Mod, socket = Socket}, Identifier) end
    end),
    ok = Mod:controlling_process(Socket, Server),
    Server ! go.

handle(#end_{mod = Mod, socket = Socket} = End, Identifier) ->
    case recv(End, infinity) of
        {?CALL, Name, _, _} when Identifier =/= any, Name =/= Identifier ->
            %% The original answers, and then never reads again.
            send(End, ?ERROR, <<"wrong identifier">>),
            timer:sleep(infinity);
        {?CALL, _, {Ref, {compressed, Term}}, Form} ->
            count({form, Form}),
            send(End#end_{options = [compressed]}, ?REPLY, {Term, Ref}),
            handle(End, Identifier);
        {?CALL, _, {Ref, Request}, _} ->
            send(End, ?REPLY, {reply(Request), Ref}),
            handle(End, Identifier);
        {?CAST, _, {push_me, Term}, _} ->
            send(End, ?PUSH, Term),
            handle(End, Identifier);
        {?CAST, _, Term, _} ->
            count({cast, Term}),
            handle(End, Identifier);
        {?KEEPALIVE, _, _, _} ->
            count(keepalive),
            handle(End, Identifier);
        {error, Reason} ->
            count(Reason),
            Mod:close(Socket)
    end.

count(What) -> ets:update_counter(seen, What, 1, {What, 0}).

reply(ping) -> pong;
reply({echo, Term}) -> Term;
reply({sleepfor, Time}) -> timer:sleep(Time), {slept, Time};
%% How often something was seen, on all connections.
reply({seen, What}) ->
    case ets:lookup(seen, What) of
        [{_, Count}] -> Count;
        [] -> 0
    end.
