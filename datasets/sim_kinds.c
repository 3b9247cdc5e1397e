/* sim_kinds.c: what simulated prompts say. All of it was written for this file. Lists run from common to rare.
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "datasets/sim.h"

#define LIST(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}

/* ---- words ---- */

LIST(person, "Anna", "Ben", "Carla", "David", "Emma", "Farid", "Grace", "Hiro", "Ines", "Jonas", "Kofi", "Lena", "Mei",
     "Nikolai", "Olga", "Priya", "Quentin", "Rosa", "Sven", "Thandiwe", "Umar", "Vera", "Wanjiru", "Xavier", "Yusuf",
     "Zofia");
LIST(thing, "apples", "books", "pencils", "eggs", "bottles", "tickets", "stamps", "bricks", "tulips", "marbles",
     "sandwiches", "batteries", "postcards", "candles", "teacups", "seashells", "cobblestones", "gaskets", "bobbins",
     "theodolites");
LIST(place, "shop", "school", "farm", "library", "harbour", "bakery", "museum", "warehouse", "orchard", "workshop",
     "monastery", "observatory", "foundry", "apiary");
LIST(city, "Paris", "London", "Tokyo", "Berlin", "Madrid", "Cairo", "Toronto", "Lima", "Oslo", "Nairobi", "Hanoi",
     "Tbilisi", "Valparaiso", "Luang Prabang", "Ulaanbaatar", "Nouakchott");
LIST(step, "Then {person} gives away {#} of them.", "Later {#} more arrive.",
     "Half of what is left goes to the {place}.", "A third of the rest is lost on the way.",
     "The next day {person} brings {$} boxes with {#} in each.", "After that, {$} % of them turn out to be broken.",
     "{person} trades every {$} of them for one crate.",
     "In the evening each of {$} friends takes the same number, and {$} remain.");
LIST(operation, "sum", "product", "difference", "remainder", "greatest common divisor", "least common multiple",
     "modular inverse", "digital root");
LIST(function_, "x", "x^2", "3x + {$}", "sin(x)", "e^x", "ln(x)", "x^{$} - {$}x", "1/(x + {$})", "x * e^(-x)",
     "cos(x)^2", "sqrt(x^2 + {$})", "arctan({$}x)", "x^x", "ln(sin(x) + {$})");
LIST(equation, "{$}x + {#} = {#}", "{#}x - {$} = {$}x + {#}", "x^2 - {$}x + {$} = 0", "{$}x^2 + {#}x - {#} = 0",
     "x^3 - {$}x^2 + {$}x - {#} = 0", "{$}^x = {#}", "log_{$}(x + {$}) = {$}", "|x - {#}| + |x + {$}| = {#}",
     "x^4 + {$}x^3 - {#}x + {$} = 0");
LIST(task_py, "adds two numbers", "reverses a string", "counts the vowels in a text",
     "finds the largest element of a list", "checks whether a word is a palindrome",
     "removes duplicates from a list and keeps its order", "merges two sorted lists", "groups words that are anagrams",
     "parses a CSV line with quoted fields", "finds the longest common subsequence",
     "evaluates an arithmetic expression with brackets", "solves a sudoku by backtracking",
     "implements an LRU cache in O(1)", "finds strongly connected components", "computes a minimum-cost flow",
     "builds a suffix automaton", "implements a lock-free queue", "balances a red-black tree after a deletion");
LIST(constraint_py, "Add type hints.", "Write three tests with assert.", "Don't use any import.",
     "It must run in O(n log n).", "Handle empty input.", "Use recursion.", "Raise ValueError on wrong types.",
     "It must be thread-safe.", "Memory must stay constant.", "Explain the invariant in a docstring.");
LIST(type_c, "int", "double", "char *", "size_t", "struct node *", "uint64_t", "const void *", "volatile sig_atomic_t");
LIST(bug, "for (int i = 0; i <= n; i++) sum += a[i];", "char *s = malloc(strlen(t)); strcpy(s, t);",
     "if (x = {$}) return -1;", "free(p); p->next = NULL;", "while (p) { free(p); p = p->next; }",
     "unsigned k = n - 1; while (k >= 0) k--;", "int *f(void) { int v[{$}]; return v; }",
     "memcpy(a, a + 1, n * sizeof *a);", "pthread_mutex_lock(&m); if (err) return; pthread_mutex_unlock(&m);",
     "if (atomic_load(&head) == old) head = fresh;");
LIST(table_, "users", "orders", "products", "employees", "invoices", "visits", "shipments", "subscriptions", "sensors",
     "ledger_entries");
LIST(column_, "name", "price", "created_at", "country", "quantity", "status", "manager_id", "amount_cents",
     "valid_from", "checksum");
LIST(clause, "sorted by {column_}", "only where {column_} is not null", "grouped by {column_}",
     "with the number of rows in each group", "joined with {table_} on id", "limited to the {$} newest",
     "without those that appear in {table_}", "with a running total of {column_}",
     "with the rank within each {column_}", "including ancestors through a recursive query",
     "with gaps in {column_} filled by the last known value");
LIST(tool, "get_weather(city)", "send_email(to, subject, body)", "search_flights(from, to, date)",
     "create_event(title, start, end, guests)", "convert_currency(amount, from, to)",
     "book_table(restaurant, people, time)", "update_ticket(id, status, assignee, labels)",
     "run_query(dataset, filters, aggregations, having)");
LIST(wish, "What's the weather in {city} tomorrow?", "Mail {person} that the meeting moves to {$} o'clock.",
     "Find me a flight from {city} to {city}, under {#} euros.", "How much are {#} yen in dollars?",
     "Put lunch with {person} and {person} on Friday's calendar, but not if I'm in {city}.",
     "Close all tickets of {person} that are older than {$} days, except the urgent ones, and tell {person}.",
     "If it rains in {city}, cancel the table for {$}, else move it {$} hours later and mail everyone.");
LIST(language, "French", "Spanish", "German", "Italian", "Portuguese", "Dutch", "Polish", "Swedish", "Turkish",
     "Vietnamese", "Hungarian", "Swahili", "Welsh", "Basque", "Old Norse");
LIST(sentence, "The train leaves at {$} o'clock.", "Where is the nearest pharmacy?", "My sister works in a {place}.",
     "It has been raining since Monday.", "We would have come earlier if the bridge had been open.",
     "The contract may be terminated with {$} weeks' notice.", "He let the cat out of the bag again.",
     "Neither the minister nor her advisers had foreseen the outcome.",
     "The patient presented with intermittent claudication of the left leg.",
     "Notwithstanding the foregoing, the lessee shall indemnify the lessor.",
     "Time flies like an arrow; fruit flies like a banana.");
LIST(hanzi_topic, "苹果", "天气", "学校", "春节", "长城", "手机", "地铁", "中医", "唐诗", "宏观经济", "量子力学",
     "敦煌壁画", "甲骨文", "训诂学");
LIST(hanzi_question, "请用一句话解释什么是{~hanzi_topic}。", "{~hanzi_topic}有什么特点?请列出{$}点。",
     "为什么很多人喜欢{~hanzi_topic}?", "请写一段关于{~hanzi_topic}的短文,不超过{#}字。",
     "比较{~hanzi_topic}和{~hanzi_topic}的异同。", "小明有{#}个苹果,又买了{#}个,现在一共有多少个?",
     "把下面的句子改成文言文:今天的{~hanzi_topic}让我想起了家乡。",
     "从历史的角度论述{~hanzi_topic}对社会的影响,并举例说明。");
LIST(news, "The city council voted on Tuesday to close {$} streets to cars.",
     "Sales at the {place} rose by {$} per cent.", "A storm cut power to {#} homes near {city}.",
     "{person} was elected head of the teachers' union.", "Researchers in {city} published a new map of the sea floor.",
     "The company will lay off {#} workers by autumn.", "Critics called the plan rushed and too expensive.",
     "Prices of {thing} have doubled within {$} months.", "The museum has returned {$} paintings to their owners.",
     "An appeal against the ruling is expected before the end of the term.");
LIST(country, "France", "Italy", "Japan", "Brazil", "Canada", "Egypt", "Poland", "Chile", "Kenya", "Vietnam", "Latvia",
     "Paraguay", "Mongolia", "Burkina Faso", "Kyrgyzstan", "Vanuatu", "Palau", "the Khanate of Kokand");
LIST(element, "gold", "iron", "oxygen", "copper", "tin", "sodium", "tungsten", "antimony", "gadolinium", "praseodymium",
     "protactinium", "tennessine");
LIST(work, "Hamlet", "the Mona Lisa", "Don Quixote", "The Magic Flute", "War and Peace", "The Night Watch",
     "the Sagrada Familia", "Things Fall Apart", "The Rite of Spring", "The Master and Margarita",
     "The Garden of Earthly Delights", "The Tale of Genji", "the Tempietto in Rome", "Simplicius Simplicissimus",
     "the Codex Seraphinianus");
LIST(trivia_thing, "the capital of {~country}", "the chemical symbol of {~element}", "the maker of {~work}",
     "the currency of {~country}", "the longest river of {~country}", "the atomic number of {~element}",
     "the year in which {~work} was finished", "the highest mountain of {~country}",
     "the discoverer of {~element}, and the year", "the neighbour of {~country} with the shortest common border",
     "the first owner of {~work}", "the second-largest island of {~country}",
     "the most abundant isotope of {~element} after the first");
LIST(disease, "influenza", "asthma", "migraine", "type 2 diabetes", "appendicitis", "pneumonia", "gout",
     "hypothyroidism", "sarcoidosis", "myasthenia gravis", "Wilson disease", "pheochromocytoma", "Takayasu arteritis",
     "acute intermittent porphyria");
LIST(finding, "fever", "cough", "headache", "nausea", "joint pain", "night sweats", "raised liver enzymes",
     "proximal muscle weakness", "a palmar rash", "hypercalcaemia", "Kayser-Fleischer rings", "pulsus paradoxus");
LIST(drug, "aspirin", "ibuprofen", "penicillin", "insulin", "metformin", "warfarin", "prednisolone", "levothyroxine",
     "methotrexate", "penicillamine", "pyridostigmine", "phenoxybenzamine");
LIST(hello, "hi!", "hey, how are you?", "good morning :)", "what's up?", "tell me a joke", "I'm bored", "lol ok",
     "do you like music?", "I had a weird dream about {thing}", "my cat knocked over {$} {thing} today",
     "what should I cook tonight?", "can't sleep, talk to me", "recommend a film like the one with the {place}",
     "my boss {person} keeps changing the deadline and I don't know how to say no",
     "I think I'm falling out of touch with everyone I grew up with in {city}");
LIST(theorem, "the sum of two even numbers is even", "the square root of 2 is irrational",
     "there are infinitely many primes", "n^2 + n is even for every whole n",
     "every tree with n vertices has n - 1 edges", "a continuous function on a closed interval is bounded",
     "the harmonic series diverges", "every finite integral domain is a field", "a group of order p^2 is abelian",
     "the set of algebraic numbers is countable", "every compact Hausdorff space is normal",
     "the Fourier transform is unitary on L^2", "every submodule of a free module over a PID is free",
     "the first Baire class is closed under uniform limits");
LIST(proof_way, "by induction", "by contradiction", "directly", "in at most {$} lines",
     "as you would for {person}'s seminar", "with lemma {$} of the notes", "constructively",
     "without the axiom of choice", "by a counting argument", "by transfinite induction");
LIST(spanish_topic, "la casa", "el verano", "el fútbol", "la cocina", "la historia de España", "el cambio climático",
     "la deuda pública", "el realismo mágico", "la jurisprudencia constitucional", "la poesía del Siglo de Oro");
LIST(spanish, "¿Qué es {~spanish_topic}?", "Escribe {$} frases sobre {~spanish_topic}.",
     "¿Por qué es importante {~spanish_topic} para {person}?", "Resume en pocas palabras {~spanish_topic}.",
     "Compara {~spanish_topic} con {~spanish_topic} y da {$} ejemplos.",
     "Redacta una carta formal sobre {~spanish_topic} dirigida al ayuntamiento.");
LIST(russian_topic, "погода", "школа", "семья", "метро", "балет", "русский лес", "квантовая физика",
     "денежно-кредитная политика", "древнерусская литература", "морфология причастий");
LIST(russian, "Что такое {~russian_topic}?", "Напиши {$} предложений на тему: {~russian_topic}.",
     "Объясни ребёнку, зачем нужна {~russian_topic}.", "Сравни: {~russian_topic} и {~russian_topic}.",
     "Составь план лекции на тему «{~russian_topic}» из {$} пунктов.");
LIST(japanese_topic, "天気", "猫", "電車", "学校", "お祭り", "俳句", "茶道", "経済政策", "量子計算", "古典文法");
LIST(japanese, "{~japanese_topic}について教えてください。", "{~japanese_topic}の例を{$}つ挙げてください。",
     "{~japanese_topic}と{~japanese_topic}の違いは何ですか。", "{~japanese_topic}についての短い物語を書いてください。",
     "敬語を使って{~japanese_topic}に関するメールを書いてください。");
LIST(arabic_topic, "الطقس", "المدرسة", "القهوة", "التاريخ", "الاقتصاد", "الشعر الجاهلي", "علم العروض", "فقه اللغة");
LIST(arabic, "ما هو {~arabic_topic}؟", "اكتب {$} جمل عن {~arabic_topic}.", "لماذا نهتم بموضوع {~arabic_topic}؟",
     "قارن بين {~arabic_topic} و{~arabic_topic} مع أمثلة.");
LIST(hindi_topic, "मौसम", "विद्यालय", "क्रिकेट", "भारत का इतिहास", "अर्थव्यवस्था", "शास्त्रीय संगीत", "पाणिनि का व्याकरण");
LIST(hindi, "{~hindi_topic} क्या है?", "{~hindi_topic} पर {$} वाक्य लिखो।",
     "{~hindi_topic} और {~hindi_topic} में क्या अंतर है?", "{~hindi_topic} के बारे में एक छोटी कहानी लिखो।");
LIST(daily, "puts ice into a warm drink", "leaves a bicycle in the rain", "forgets the cake in the oven",
     "drops a glass on a stone floor", "waters a plant every hour", "reads by a candle in the wind",
     "wears wool in the summer sun", "parks a sled on a steep roof");
LIST(physics, "a ball is thrown upwards at {#} m/s", "a spring of {$} N/m is stretched by {#} cm",
     "{$} resistors of {#} ohms are in parallel", "a wave has a frequency of {#} Hz", "a satellite orbits at {#} km",
     "a gas expands adiabatically to {$} times its volume", "a rod of length {#} m rotates about its end",
     "an electron tunnels through a barrier of {$} eV", "two black holes of {$} solar masses merge");
LIST(form, "a birthday card", "a short poem", "an email", "a product description", "a limerick", "a cover letter",
     "a eulogy", "a sonnet in iambic pentameter", "a villanelle", "a pastiche of a Victorian travelogue");
LIST(mood, "cheerful", "polite", "funny", "sad", "formal", "ironic", "wistful", "elegiac");
LIST(review, "I loved it.", "Never again.", "It was fine, I guess.", "Great {thing}, slow service.",
     "Not as bad as people say.", "If you like waiting {$} weeks, this is for you.",
     "I wanted to hate it and couldn't.", "Five stars for the box, one for what was in it.",
     "My grandmother's {thing} outlive these by decades, and she's buried.");
LIST(record, "{person}, {city}, ordered {#} {thing} on the {$}th",
     "invoice {#} to {person}: {#}.{$} EUR, due in {$} days", "{person} (born 19{$}{$}) moved from {city} to {city}",
     "ticket {#}: {thing} arrived broken at the {place}",
     "lot {#}/{$}: {#} {thing}, minus {$} % damaged, plus {#} returned by {person}");
LIST(shell, "lists files", "counts lines in all .txt files", "finds files larger than {#} MB",
     "replaces {thing} by {thing} in every file", "kills processes older than {$} hours",
     "prints the {$} most frequent words of a log", "renames photos by their EXIF date",
     "mirrors a folder over ssh and keeps {$} snapshots", "extracts the {$}th field of quoted CSV without awk");
LIST(fact, "{person} sits left of {person}.", "Whoever owns the {thing} lives in {city}.",
     "{person} never lies on Mondays.", "Exactly one of {person} and {person} tells the truth.",
     "The {place} stands between two houses.", "If {person} is in {city}, {person} isn't.",
     "At least {$} of them have met {person}.");
LIST(law, "theft", "a broken contract", "a noisy neighbour", "negligence of a driver", "a disputed will", "libel",
     "adverse possession", "promissory estoppel", "the rule against perpetuities", "res ipsa loquitur");
LIST(role, "a friendly pirate", "my history teacher", "a chess coach", "a grumpy librarian", "a space-station doctor",
     "a medieval tax collector", "the last speaker of a forgotten language", "an unreliable oracle");
LIST(clause_text,
     "Section {$}. The supplier delivers {#} {thing} to the {place} in {city} no later than the {$}th of the month.",
     "Section {$}. Late delivery is charged with {$} per cent of the price for every week begun.",
     "Section {$}. {person} may inspect the books after a notice of {$} days.",
     "Section {$}. Disputes are heard in {city}; the law of that place applies.",
     "Section {$}. Confidential matters stay so for {$} years after the end of this agreement.",
     "Section {$}. Should a clause be void, the others remain in force.",
     "Section {$}. The buyer pays within {$} days of a correct invoice; {$} per cent may be held back for defects.");

const weirp_sim_list weirp_sim_lists[] = {
#define ENTRY(name) {#name, name},
    ENTRY(person) ENTRY(thing) ENTRY(place) ENTRY(city) ENTRY(step) ENTRY(operation) ENTRY(function_) ENTRY(equation)
        ENTRY(task_py) ENTRY(constraint_py) ENTRY(type_c) ENTRY(bug) ENTRY(table_) ENTRY(column_) ENTRY(clause)
            ENTRY(tool) ENTRY(wish) ENTRY(language) ENTRY(sentence) ENTRY(hanzi_topic) ENTRY(hanzi_question) ENTRY(news)
                ENTRY(country) ENTRY(element) ENTRY(work) ENTRY(trivia_thing) ENTRY(disease) ENTRY(finding) ENTRY(drug)
                    ENTRY(hello) ENTRY(theorem) ENTRY(proof_way) ENTRY(spanish_topic) ENTRY(spanish)
                        ENTRY(russian_topic) ENTRY(russian) ENTRY(japanese_topic) ENTRY(japanese) ENTRY(arabic_topic)
                            ENTRY(arabic) ENTRY(hindi_topic) ENTRY(hindi) ENTRY(daily) ENTRY(physics) ENTRY(form)
                                ENTRY(mood) ENTRY(review) ENTRY(record) ENTRY(shell) ENTRY(fact) ENTRY(law) ENTRY(role)
                                    ENTRY(clause_text)
#undef ENTRY
                                        {NULL, NULL}};

/* ---- kinds ---- */

LIST(k_arithmetic, "{person} has {#} {thing}. {+step} How many {thing} does {person} have in the end?",
     "A {place} in {city} sells {#} {thing} for {#} euros each. {+step} How much money comes in?",
     "What is the {~operation} of {#} and {#}? {+step} Answer with a number only.");
LIST(k_algebra, "Solve for x: {~equation}", "Find the derivative of f(x) = {~function_} * ({~function_}).",
     "Compute the integral of {~function_} + {~function_} from 0 to {$}.",
     "How many real solutions does {~equation} have? Show your steps.");
LIST(k_python, "Write a Python function that {~task_py}. {+constraint_py}",
     "def solve(data):{nl}    # this {~task_py}{nl}    ...{nl}Complete the function. {+constraint_py}",
     "Please implement a class in Python which {~task_py}, with a method for {thing}. {+constraint_py}");
LIST(k_debug, "What is wrong with this C code?{nl}```c{nl}{~type_c} f({~type_c} p) {{nl}    {+bug}{nl}}{nl}```",
     "My program crashes in line {$}. Find the bug:{nl}```c{nl}{+bug}{nl}return ({~type_c})x;{nl}```");
LIST(k_sql, "Write a SQL query: all rows of {~table_} {+clause}.",
     "Given {~table_}(id, {column_}, {column_}) and {~table_}(id, {column_}), select {column_} {+clause}. PostgreSQL.");
LIST(k_tools,
     "You can call: {tool}, {~tool}. Answer with JSON {\"name\":..., \"arguments\":{...}} only.{nl}User: {~wish}",
     "Functions: {tool}; {tool}; {~tool}{nl}Request: {~wish} {~wish}{nl}Return the function call as JSON.");
LIST(k_translate, "Translate into {~language}: {~sentence}", "How do you say \"{~sentence}\" in {~language}?",
     "Translate from English to {~language}, keeping the tone:{nl}{+sentence}");
LIST(k_chinese, "{~hanzi_question}", "{~hanzi_question}请分步骤回答。", "你好,{~hanzi_question}谢谢!");
LIST(k_summary, "Summarise in {$} words:{nl}{+news} {+news}", "TL;DR of this article, please:{nl}{nl}{news} {+news}",
     "Give me the key points of the following text as a list.{nl}{+news} {news}");
LIST(k_trivia, "What is {~trivia_thing}?", "Who or what is {~trivia_thing}? Answer in a few words.",
     "Quiz, question {$}: name {~trivia_thing}.");
LIST(k_medical,
     "A patient of {#} years has {~finding} and {~finding}. Which diagnosis is most likely?{nl}A: {~disease}{nl}B: "
     "{~disease}{nl}C: {~disease}{nl}D: {~disease}{nl}Answer with a letter.",
     "Which drug is the first choice in {~disease} with {~finding}?{nl}A: {~drug}{nl}B: {~drug}{nl}C: {~drug}{nl}D: "
     "{~drug}{nl}Answer:");
LIST(k_chat, "{~hello} {~hello}", "hey {person} here. {~hello}", "{person} says {~hello}, and {person} {~hello}");
LIST(k_document,
     "Read the agreement and answer.{nl}{nl}{clause_text}{nl}{clause_text}{nl}{+clause_text}{nl}{+clause_text}{nl}"
     "{clause_text}{nl}{+clause_text}{nl}{nl}Question: within how many days must {person} act under section {$}?");
LIST(k_proof, "Prove {~proof_way} that {~theorem}.",
     "Show {~proof_way}: {~theorem}. Then show that the converse fails, {~proof_way}.",
     "Give {$} different proofs that {~theorem}, without using that {~theorem}.");
LIST(k_spanish, "{~spanish}", "{~spanish} {~spanish}", "Hola, soy {person}. {~spanish} Máximo {#} palabras.");
LIST(k_russian, "{~russian}", "{~russian} {~russian}", "Здравствуйте, это {person}! {~russian} Не больше {#} знаков.",
     "{~russian} Ответ — в {$} пунктах.");
LIST(k_japanese, "{~japanese}{~japanese}", "こんにちは、{person}です。{~japanese}",
     "{~japanese}{#}字以内でお願いします。");
LIST(k_arabic, "مرحبا، أنا {person}. {~arabic}", "{~arabic} {~arabic}", "{~arabic} في {#} كلمة.");
LIST(k_hindi, "नमस्ते, मैं {person}। {~hindi}", "{~hindi} {~hindi}", "{~hindi} {#} शब्दों में।");
LIST(k_commonsense,
     "{person} {~daily}. What happens next?{nl}(A) nothing at all{nl}(B) {person} regrets it{nl}(C) the {thing} "
     "change{nl}(D) it snows{nl}Choose one.",
     "Because {person} {~daily}, {person} {~daily}. Does that make sense? Answer yes or no.");
LIST(
    k_physics,
    "Physics: {~physics}, while {~physics}. Which is right?{nl}A. {#} J{nl}B. {#} N{nl}C. {#} W{nl}D. {#} Pa{nl}Answer "
    "with a letter.",
    "Suppose {~physics}. What is the result? A) {#} B) {#} C) {#} D) none. Answer:");
LIST(k_writing, "Write {~form} about {thing} for {person}, in a {~mood} tone.",
     "I need {~form} that mentions {city}, the {place} and {$} {thing}. Keep it {~mood} and {~mood}.");
LIST(k_sentiment, "Is this review positive, negative or neutral?{nl}\"{+review}\"",
     "Classify the sentiment: {+review} Label:", "Rate from 1 to 5: \"{~review} {~review}\"");
LIST(k_extract, "Extract names, places and amounts as JSON:{nl}{+record}",
     "Turn these notes into a CSV table: {+record}", "List every number with its unit: {record}; {+record}");
LIST(k_shell, "Give a bash one-liner that {~shell}.", "Which command {~shell}? It must work on macOS and Linux.",
     "Write a regular expression and a shell script that {~shell}, then {~shell}.");
LIST(k_logic, "Logic puzzle: {+fact} {+fact} Who is lying?", "{fact} {+fact} {+fact} Where does {person} live?",
     "Given: {+fact} {+fact} Can all of these be true? Explain each step.");
LIST(k_law,
     "In a case of {~law} in {city}, which defence is the strongest?{nl}(A) consent{nl}(B) necessity{nl}(C) lapse "
     "of time{nl}(D) none{nl}Answer with a letter.",
     "{person} sues {person} over {~law} and {~law}. Who wins? (A) the plaintiff (B) the defendant (C) neither. "
     "Answer:");
LIST(k_roleplay, "Pretend to be {~role}. {~hello}",
     "You are {~role} in {city}. A visitor brings {$} {thing}. Stay in "
     "character and answer: {~hello}");

const weirp_sim_kind weirp_sim_kinds[] = {
    {"arithmetic", 0.00, 0.6, 4.0, 140, k_arithmetic},
    {"algebra", 0.00, 0.9, 3.5, 260, k_algebra},
    {"python", 0.00, 0.7, 3.5, 320, k_python},
    {"debug", 0.05, 0.9, 2.5, 220, k_debug},
    {"sql", 0.00, 0.5, 3.0, 110, k_sql},
    {"tools", 0.00, 0.4, 3.0, 45, k_tools},
    {"translation", 0.00, 0.1, 3.0, 40, k_translate},
    {"chinese", 0.05, 0.4, 2.5, 180, k_chinese},
    {"summary", 0.20, -0.8, 1.5, 90, k_summary},
    {"trivia", 0.00, 0.5, 4.5, 14, k_trivia},
    {"medical", 0.25, 0.8, 2.5, 4, k_medical},
    {"chat", 0.30, -1.2, 1.0, 60, k_chat},
    {"document", 0.05, 0.5, 2.0, 50, k_document},
    {"proof", 0.00, 1.6, 4.0, 480, k_proof},
    {"spanish", 0.10, -0.2, 2.0, 150, k_spanish},
    {"russian", 0.05, 0.2, 2.0, 150, k_russian},
    {"japanese", 0.05, 0.4, 2.0, 140, k_japanese},
    {"arabic", 0.05, 0.6, 2.0, 130, k_arabic},
    {"hindi", 0.05, 0.6, 2.0, 130, k_hindi},
    {"commonsense", 0.30, 0.1, 1.5, 6, k_commonsense},
    {"physics", 0.25, 1.0, 3.0, 5, k_physics},
    {"writing", 0.25, -0.6, 1.5, 280, k_writing},
    {"sentiment", 0.33, -0.6, 2.0, 3, k_sentiment},
    {"extraction", 0.05, 0.0, 2.5, 80, k_extract},
    {"shell", 0.00, 0.6, 3.0, 90, k_shell},
    {"logic", 0.10, 1.3, 3.0, 240, k_logic},
    {"law", 0.27, 0.8, 2.5, 5, k_law},
    {"roleplay", 0.30, -0.9, 1.0, 110, k_roleplay},
};
const size_t weirp_sim_n_kinds = sizeof weirp_sim_kinds / sizeof weirp_sim_kinds[0];

const char *const weirp_sim_vague[] = {"Please do number {#}.",
                                       "Same as before, but for case {#}.",
                                       "See what I sent you on the {$}th, item {#}.",
                                       "Continue.  ({#})",
                                       "The file is called {#}-{$}. Go on.",
                                       "As discussed with {person}: {#}.",
                                       "Do the next one, reference {#}/{$}.",
                                       NULL};

const char *const weirp_sim_padding[] = {"For context, this is part {$} of what {person} collected at the {place}.",
                                         "Some of it was written in {city}, and not all of it matters here.",
                                         "The notes mention {thing}, {thing} and a list of {#} names.",
                                         "Page {$} is missing; the others are in order.",
                                         "{person} thinks otherwise, as the margin of page {$} says.",
                                         "It should be read together with what {person} said about {thing}.",
                                         NULL};
