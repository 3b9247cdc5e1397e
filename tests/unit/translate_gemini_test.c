/* Gemini's protocol: requests written, answers and errors read. Texts are JSON with ' for ".
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/words.h"
#include "src/translate/parts.h"

static char *quoted(const char *text) {
    char *out = strdup(text);
    assert_non_null(out);
    for (char *p = out; *p; p++)
        if (*p == '\'') *p = '"';
    return out;
}

static json_t *json_of(const char *text) {
    char *copy = quoted(text);
    json_error_t error;
    json_t *json = json_loads(copy, JSON_DECODE_ANY, &error);
    if (!json) print_error("%s in %s\n", error.text, copy);
    assert_non_null(json);
    free(copy);
    return json;
}

/* ---- requests ---- */

typedef struct written {
    weir_status status;
    json_t *body; /* NULL unless WEIR_OK */
    char path[256];
    weirp_fault fault;
} written;

static written write_with(const char *chat, weirp_request request, weirp_target target) {
    written out = {0};
    weirp_writer body = {0};
    request.chat = request.json = json_of(chat);
    if (!request.n_choices) request.n_choices = 1;
    out.status = weirp_gemini_ops.write(&request, &target, &body, out.path, sizeof out.path, &out.fault);
    if (out.status == WEIR_OK) {
        out.body = json_loadb((const char *)body.data, body.size, 0, NULL);
        assert_non_null(out.body);
    }
    weirp_writer_free(&body);
    json_decref(request.chat);
    return out;
}

static written write_chat(const char *chat, const char *model) {
    return write_with(chat, (weirp_request){.max_output_tokens = NAN},
                      (weirp_target){.protocol = WEIRP_PROTOCOL_GEMINI, .model = model, .max_output_tokens = NAN});
}

static void assert_json(const json_t *got, const char *expected) {
    json_t *want = json_of(expected);
    if (!json_equal(got, want)) {
        char *a = json_dumps(got, JSON_SORT_KEYS | JSON_ENCODE_ANY), *b = json_dumps(want, JSON_SORT_KEYS);
        print_error("got      %s\nexpected %s\n", a, b);
        free(a);
        free(b);
    }
    assert_true(json_equal(got, want));
    json_decref(want);
}

static void expect_member(const char *chat, const char *model, const char *member, const char *expected) {
    written w = write_chat(chat, model);
    if (w.status) print_error("%s: %s\n", w.fault.param, w.fault.text);
    assert_int_equal(w.status, WEIR_OK);
    if (expected)
        assert_json(json_object_get(w.body, member), expected);
    else
        assert_null(json_object_get(w.body, member));
    json_decref(w.body);
}

static void expect_refusal(const char *chat, const char *model, const char *param) {
    written w = write_chat(chat, model);
    assert_int_equal(w.status, WEIR_INVALID);
    assert_string_equal(w.fault.param, param);
    assert_true(*w.fault.text);
}

#define HI "'messages':[{'role':'user','content':'hi'}]"

static void writes_path(void **state) {
    (void)state;
    static const struct {
        const char *model, *path;
        bool stream;
    } cases[] = {
        {"gemini-2.5-flash", "/models/gemini-2.5-flash:generateContent", false},
        {"models/gemini-2.5-flash", "/models/gemini-2.5-flash:generateContent", false},
        {"gemini-2.5-flash", "/models/gemini-2.5-flash:streamGenerateContent?alt=sse", true},
        {"tunedModels/mine", "/tunedModels/mine:generateContent", false},
        {"a/b?c d:\xc3\xa4", "/models/a%2Fb%3Fc%20d%3A%C3%A4:generateContent", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        written w = write_with("{" HI "}", (weirp_request){.max_output_tokens = NAN, .stream = cases[i].stream},
                               (weirp_target){.model = cases[i].model, .max_output_tokens = NAN});
        assert_int_equal(w.status, WEIR_OK);
        assert_string_equal(w.path, cases[i].path);
        json_decref(w.body);
    }
    char path[16];
    weirp_request r = {.max_output_tokens = NAN, .n_choices = 1, .chat = json_of("{" HI "}")};
    weirp_target t = {.model = "gemini-2.5-flash", .max_output_tokens = NAN};
    weirp_writer body = {0};
    weirp_fault fault;
    assert_int_equal(weirp_gemini_ops.write(&r, &t, &body, path, sizeof path, &fault), WEIR_INVALID);
    t.model = "models/";
    assert_int_equal(weirp_gemini_ops.write(&r, &t, &body, path, sizeof path, &fault), WEIR_INVALID);
    weirp_writer_free(&body);
    json_decref(r.chat);
}

static void writes_messages(void **state) {
    (void)state;
    const char *chat = "{'messages':[{'role':'system','content':'Be brief.'},{'role':'developer','content':[{'type':"
                       "'text','text':'Be kind.'}]},{'role':'user','content':'a'},{'role':'user','content':[{'type':"
                       "'text','text':'b'},{'type':'text','text':''}]},{'role':'assistant','content':'c'},{'role':"
                       "'assistant','content':null,'refusal':'no'},{'role':'assistant','content':''},{'role':'user',"
                       "'content':'d'}]}";
    expect_member(chat, "gemini-2.5-flash", "contents",
                  "[{'role':'user','parts':[{'text':'a'},{'text':'b'}]},{'role':'model','parts':[{'text':'c'},{'text':"
                  "'no'}]},{'role':'user','parts':[{'text':'d'}]}]");
    expect_member(chat, "gemini-2.5-flash", "systemInstruction",
                  "{'parts':[{'text':'Be brief.'},{'text':'Be kind.'}]}");
    const char *alone = "{'messages':[{'role':'system','content':'Say hi.'}]}";
    expect_member(alone, "gemini-2.5-flash", "contents", "[{'role':'user','parts':[{'text':'Say hi.'}]}]");
    expect_member(alone, "gemini-2.5-flash", "systemInstruction", NULL);
    expect_member(
        "{'messages':[{'role':'user','content':['a',{'type':'text','text':'b'}]},{'role':'assistant'},{'role':"
        "'tool','name':'f','tool_call_id':'x','content':null}]}",
        "gemini-2.5-flash", "contents",
        "[{'role':'user','parts':[{'text':'a'},{'text':'b'}]},{'role':'user','parts':[{'functionResponse':{"
        "'id':'x','name':'f','response':{'result':''}}}]}]");
    expect_member("{" HI "}", "gemini-2.5-flash", "generationConfig", NULL);
    expect_member("{" HI "}", "gemini-2.5-flash", "tools", NULL);
}

static void writes_media(void **state) {
    (void)state;
    expect_member(
        "{'messages':[{'role':'user','content':["
        "{'type':'image_url','image_url':{'url':'data:image/png;base64,AAAA'}},"
        "{'type':'image_url','image_url':{'url':'DATA:image/svg+xml;charset=utf-8;BASE64,BBBB'}},"
        "{'type':'image_url','image_url':{'url':'https://x.org/a.JPG?size=1'}},"
        "{'type':'image_url','image_url':{'url':'https://x.org/a'}},"
        "{'type':'image_url','image_url':{'url':'gs://bucket/a.webp'}},"
        "{'type':'input_audio','input_audio':{'data':'CCCC','format':'wav'}},"
        "{'type':'input_audio','input_audio':{'data':'DDDD','format':'mp3'}},"
        "{'type':'file','file':{'file_data':'data:application/pdf;base64,EEEE','filename':'x.pdf'}},"
        "{'type':'file','file':{'file_data':'FFFF','filename':'x.pdf'}},"
        "{'type':'file','file':{'file_id':'https://generativelanguage.googleapis.com/v1beta/files/abc'}}]}]}",
        "gemini-2.5-flash", "contents",
        "[{'role':'user','parts':[{'inlineData':{'mimeType':'image/png','data':'AAAA'}},"
        "{'inlineData':{'mimeType':'image/svg+xml','data':'BBBB'}},"
        "{'fileData':{'mimeType':'image/jpeg','fileUri':'https://x.org/a.JPG?size=1'}},"
        "{'fileData':{'fileUri':'https://x.org/a'}},"
        "{'fileData':{'mimeType':'image/webp','fileUri':'gs://bucket/a.webp'}},"
        "{'inlineData':{'mimeType':'audio/wav','data':'CCCC'}},{'inlineData':{'mimeType':'audio/mp3','data':'DDDD'}},"
        "{'inlineData':{'mimeType':'application/pdf','data':'EEEE'}},"
        "{'inlineData':{'mimeType':'application/pdf','data':'FFFF'}},"
        "{'fileData':{'fileUri':'https://generativelanguage.googleapis.com/v1beta/files/abc'}}]}]");
}

static void refuses_media(void **state) {
    (void)state;
    static const char *const parts[] = {
        "{'type':'image_url','image_url':{'url':'data:image/png,AAAA'}}",
        "{'type':'image_url','image_url':{'url':'data:;base64,AAAA'}}",
        "{'type':'image_url','image_url':{'url':'data:'}}",
        "{'type':'image_url','image_url':{'url':'file:///etc/passwd'}}",
        "{'type':'image_url','image_url':{}}",
        "{'type':'input_audio','input_audio':{'data':'A','format':'flac'}}",
        "{'type':'file','file':{'file_id':'file-123'}}",
        "{'type':'file','file':{'file_data':'AAAA'}}",
        "{'type':'hologram'}",
        "7",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char chat[512];
        snprintf(chat, sizeof chat, "{'messages':[{'role':'user','content':[%s]}]}", parts[i]);
        expect_refusal(chat, "gemini-2.5-flash", "messages[0].content[0]");
    }
}

#define CALL(id, name, args) "{'id':'" id "','type':'function','function':{'name':'" name "','arguments':'" args "'}}"

static void writes_calls_and_results(void **state) {
    (void)state;
    const char *chat = "{'messages':[{'role':'user','content':'go'},{'role':'assistant','content':null,'tool_calls':["
                       "{'id':'c1','type':'function','function':{'name':'f','arguments':'{\\'x\\':[1,2]}'}},"
                       "{'id':'c2','type':'function','function':{'name':'g','arguments':''}}]},"
                       "{'role':'tool','tool_call_id':'c1','content':'{\\'y\\':3}'},"
                       "{'role':'tool','tool_call_id':'c2','content':[{'type':'text','text':'fi'},{'type':'text',"
                       "'text':'ne'}]},{'role':'user','content':'and?'},{'role':'assistant','content':'hm','tool_calls'"
                       ":[{'id':'c1','type':'function','function':{'name':'h','arguments':'{\\'cut'}}]},"
                       "{'role':'tool','tool_call_id':'c1','content':'[1]'}]}";
    expect_member(chat, "gemini-2.5-flash", "contents",
                  "[{'role':'user','parts':[{'text':'go'}]},"
                  "{'role':'model','parts':[{'functionCall':{'id':'c1','name':'f','args':{'x':[1,2]}}},"
                  "{'functionCall':{'id':'c2','name':'g','args':{}}}]},"
                  "{'role':'user','parts':[{'functionResponse':{'id':'c1','name':'f','response':{'y':3}}},"
                  "{'functionResponse':{'id':'c2','name':'g','response':{'result':'fine'}}}]},"
                  "{'role':'user','parts':[{'text':'and?'}]},"
                  "{'role':'model','parts':[{'text':'hm'},{'functionCall':{'id':'c1','name':'h','args':{'arguments':"
                  "'{\\'cut'}}}]},"
                  "{'role':'user','parts':[{'functionResponse':{'id':'c1','name':'h','response':{'result':'[1]'}}}]}]");
    expect_refusal("{'messages':[{'role':'tool','tool_call_id':'c9','content':'x'}]}", "gemini-2.5-flash",
                   "messages[0].tool_call_id");
    /* Gemini would look the reference up in the request. */
    expect_member("{'messages':[{'role':'assistant','tool_calls':[{'id':'a','type':'function','function':{'name':'f',"
                  "'arguments':'{}'}}]},{'role':'tool','tool_call_id':'a','content':'{\\'$ref\\':\\'#/x\\'}'}]}",
                  "gemini-2.5-flash", "contents",
                  "[{'role':'model','parts':[{'functionCall':{'id':'a','name':'f','args':{}}}]},{'role':'user','parts':"
                  "[{'functionResponse':{'id':'a','name':'f','response':{'result':'{\\'$ref\\':\\'#/x\\'}'}}}]}]");
}

/* From version 3 on each step's first call needs a signature. */
static void signs_first_calls(void **state) {
    (void)state;
    static const char *const models[] = {"gemini-3-pro-preview", "models/gemini-3.5-flash", "gemini-flash-latest"};
    for (size_t i = 0; i < 3; i++)
        expect_member("{'messages':[{'role':'assistant','tool_calls':[" CALL("a", "f", "{}") "," CALL(
                          "b", "g", "{}") "]},{'role':'tool','tool_call_id':'a','content':'1'},{'role':'tool',"
                                          "'tool_call_id':'b','content':'2'},{'role':'assistant','tool_calls':[" CALL(
                                              "c", "f", "{}") "]}]}",
                      models[i], "contents",
                      "[{'role':'model','parts':[{'functionCall':{'id':'a','name':'f','args':{}},'thoughtSignature':"
                      "'skip_thought_signature_validator'},{'functionCall':{'id':'b','name':'g','args':{}}}]},"
                      "{'role':'user','parts':[{'functionResponse':{'id':'a','name':'f','response':{'result':'1'}}},"
                      "{'functionResponse':{'id':'b','name':'g','response':{'result':'2'}}}]},"
                      "{'role':'model','parts':[{'functionCall':{'id':'c','name':'f','args':{}},'thoughtSignature':"
                      "'skip_thought_signature_validator'}]}]");
}

static void refuses_messages(void **state) {
    (void)state;
    static const struct {
        const char *message, *param;
    } cases[] = {
        {"{'role':'wizard','content':'x'}", "messages[0].role"},
        {"{'content':'x'}", "messages[0].role"},
        {"7", "messages[0].role"},
        {"{'role':'user','content':7}", "messages[0].content"},
        {"{'role':'user'}", "messages"},
        {"{'role':'system','content':[{'type':'image_url','image_url':{'url':'https://x.org'}}]}",
         "messages[0].content"},
        {"{'role':'system','content':null}", "messages"},
        {"{'role':'assistant','content':[{'type':'text'}]}", "messages[0].content"},
        {"{'role':'assistant','content':{}}", "messages[0].content"},
        {"{'role':'assistant','tool_calls':[{'id':'a','type':'custom','custom':{'name':'x'}}]}",
         "messages[0].tool_calls"},
        {"{'role':'tool','name':'f','tool_call_id':'a','content':7}", "messages[0].content"},
        {"{'role':'tool','name':'f','tool_call_id':'a','content':[{'type':'image_url'}]}", "messages[0].content"},
        {"{'role':'user','content':''}", "messages"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char chat[512];
        snprintf(chat, sizeof chat, "{'messages':[%s]}", cases[i].message);
        expect_refusal(chat, "gemini-2.5-flash", cases[i].param);
    }
}

static void writes_tools(void **state) {
    (void)state;
    expect_member(
        "{" HI ",'tools':[{'type':'function','function':{'name':'f','description':'does f','strict':true,"
        "'parameters':{'$schema':'https://json-schema.org/draft/2020-12/schema','type':'object','properties':"
        "{'x':{'$ref':'#/definitions/X','description':'an X'},'$schema':{'type':'string'},"
        "'k':{'const':'only'}},'required':['x'],'additionalProperties':false,'definitions':{'X':{'type':"
        "'integer','exclusiveMinimum':0}}}}},"
        "{'type':'function','function':{'name':'g','parameters':{'type':'object','properties':{}}}},"
        "{'type':'function','function':{'name':'h'}}]}",
        "gemini-2.5-flash", "tools",
        "[{'functionDeclarations':[{'name':'f','description':'does f','parametersJsonSchema':{'type':'object',"
        "'properties':{'x':{'$ref':'#/$defs/X'},'$schema':{'type':'string'},'k':{'enum':['only']}},"
        "'required':['x'],'additionalProperties':false,'$defs':{'X':{'type':'integer','exclusiveMinimum':0}}}}"
        ",{'name':'g'},{'name':'h'}]}]");
    expect_refusal("{" HI ",'tools':[{'type':'custom','custom':{'name':'x'}}]}", "gemini-2.5-flash", "tools[0]");
}

static void writes_tool_choice(void **state) {
    (void)state;
    static const struct {
        const char *choice, *config;
    } cases[] = {
        {"'auto'", "{'mode':'AUTO'}"},
        {"'none'", "{'mode':'NONE'}"},
        {"'required'", "{'mode':'ANY'}"},
        {"{'type':'function','function':{'name':'f'}}", "{'mode':'ANY','allowedFunctionNames':['f']}"},
        {"{'type':'allowed_tools','allowed_tools':{'mode':'required','tools':[{'type':'function','function':{'name':"
         "'f'}}]}}",
         "{'mode':'ANY','allowedFunctionNames':['f']}"},
        {"{'type':'allowed_tools','allowed_tools':{'mode':'auto','tools':[{'type':'function','function':{'name':"
         "'f'}}]}}",
         "{'mode':'VALIDATED','allowedFunctionNames':['f']}"},
    };
    char chat[512], expected[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(chat, sizeof chat, "{" HI ",'tools':[{'type':'function','function':{'name':'f'}}],'tool_choice':%s}",
                 cases[i].choice);
        snprintf(expected, sizeof expected, "{'functionCallingConfig':%s}", cases[i].config);
        expect_member(chat, "gemini-2.5-flash", "toolConfig", expected);
    }
    expect_refusal("{" HI ",'tools':[{'type':'function','function':{'name':'f'}}],'tool_choice':'often'}",
                   "gemini-2.5-flash", "tool_choice");
    expect_refusal("{" HI ",'tools':[{'type':'function','function':{'name':'f'}}],'tool_choice':{'allowed_tools':{"
                   "'tools':[{'type':'mcp'}]}}}",
                   "gemini-2.5-flash", "tool_choice");
}

static void writes_generation(void **state) {
    (void)state;
    static const struct {
        const char *members, *model, *config;
    } cases[] = {
        {"'temperature':0.5,'top_p':0.25,'top_k':40,'presence_penalty':0,'frequency_penalty':-0.5,'seed':-1",
         "gemini-2.5-flash", "{'temperature':0.5,'topP':0.25,'topK':40,'frequencyPenalty':-0.5,'seed':2147483647}"},
        {"'temperature':null,'seed':null,'stop':null,'response_format':null,'reasoning_effort':null,'n':null",
         "gemini-2.5-flash", NULL},
        {"'stop':'END'", "gemini-2.5-flash", "{'stopSequences':['END']}"},
        {"'stop':['a','b']", "gemini-2.5-flash", "{'stopSequences':['a','b']}"},
        {"'stop':[]", "gemini-2.5-flash", NULL},
        {"'response_format':{'type':'text'}", "gemini-2.5-flash", NULL},
        {"'response_format':{'type':'json_object'}", "gemini-2.5-flash", "{'responseMimeType':'application/json'}"},
        {"'response_format':{'type':'json_schema','json_schema':{'name':'x','strict':true,'schema':{'$schema':'x',"
         "'type':'object','properties':{'a':{'type':'string'}},'additionalProperties':false}}}",
         "gemini-2.5-flash",
         "{'responseMimeType':'application/json','responseJsonSchema':{'type':'object','properties':{'a':{'type':"
         "'string'}},'additionalProperties':false}}"},
        {"'reasoning_effort':'none'", "gemini-2.5-flash", "{'thinkingConfig':{'thinkingBudget':0}}"},
        {"'reasoning_effort':'none'", "models/gemini-2.5-pro", "{'thinkingConfig':{'thinkingBudget':128}}"},
        {"'reasoning_effort':'low'", "gemini-2.5-flash", "{'thinkingConfig':{'thinkingBudget':1024}}"},
        {"'reasoning_effort':'high'", "gemini-2.5-pro", "{'thinkingConfig':{'thinkingBudget':24576}}"},
        {"'reasoning_effort':'minimal'", "gemini-3-flash-preview", "{'thinkingConfig':{'thinkingLevel':'minimal'}}"},
        {"'reasoning_effort':'minimal'", "gemini-3-pro-preview", "{'thinkingConfig':{'thinkingLevel':'low'}}"},
        {"'reasoning_effort':'medium'", "gemini-3-pro-preview", "{'thinkingConfig':{'thinkingLevel':'high'}}"},
        {"'reasoning_effort':'medium'", "gemini-3.1-pro-preview", "{'thinkingConfig':{'thinkingLevel':'medium'}}"},
        {"'reasoning_effort':'xhigh'", "gemini-flash-latest", "{'thinkingConfig':{'thinkingLevel':'high'}}"},
        {"'reasoning_effort':'high'", "gemini-2.0-flash", NULL},
        {"'reasoning_effort':'high'", "gemma-3-27b-it", NULL},
        {"'user':'me','store':true,'metadata':{'a':'b'},'parallel_tool_calls':false,'logprobs':false,'logit_bias':{'1':"
         "-100}",
         "gemini-2.5-flash", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char chat[512];
        snprintf(chat, sizeof chat, "{" HI ",%s}", cases[i].members);
        expect_member(chat, cases[i].model, "generationConfig", cases[i].config);
    }
}

static void writes_lengths(void **state) {
    (void)state;
    static const struct {
        double asked, most;
        size_t n;
        const char *config;
    } cases[] = {
        {NAN, NAN, 1, NULL},
        {100, NAN, 1, "{'maxOutputTokens':100}"},
        {NAN, 50, 1, "{'maxOutputTokens':50}"},
        {100, 50, 1, "{'maxOutputTokens':50}"},
        {100, 500, 3, "{'maxOutputTokens':100,'candidateCount':3}"},
        {1e30, NAN, 8, "{'maxOutputTokens':2147483647,'candidateCount':8}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        written w =
            write_with("{" HI "}", (weirp_request){.max_output_tokens = cases[i].asked, .n_choices = cases[i].n},
                       (weirp_target){.model = "gemini-2.5-flash", .max_output_tokens = cases[i].most});
        assert_int_equal(w.status, WEIR_OK);
        if (cases[i].config)
            assert_json(json_object_get(w.body, "generationConfig"), cases[i].config);
        else
            assert_null(json_object_get(w.body, "generationConfig"));
        json_decref(w.body);
    }
    written w = write_with("{" HI "}", (weirp_request){.max_output_tokens = NAN, .n_choices = 9},
                           (weirp_target){.model = "gemini-2.5-flash", .max_output_tokens = NAN});
    assert_int_equal(w.status, WEIR_INVALID);
    assert_string_equal(w.fault.param, "n");
}

static void refuses_members(void **state) {
    (void)state;
    static const struct {
        const char *members, *param;
    } cases[] = {
        {"'temperature':'hot'", "temperature"},
        {"'seed':0.5", "seed"},
        {"'stop':7", "stop"},
        {"'stop':['a',7]", "stop"},
        {"'stop':['1','2','3','4','5','6']", "stop"},
        {"'response_format':{'type':'grammar'}", "response_format.type"},
        {"'response_format':{'type':'json_object'},'tools':[{'type':'function','function':{'name':'f'}}]",
         "response_format"},
        {"'reasoning_effort':'heroic'", "reasoning_effort"},
        {"'logprobs':true", "logprobs"},
        {"'modalities':['text','audio']", "modalities"},
        {"'functions':[{'name':'f'}]", "functions"},
        {"'web_search_options':{}", "web_search_options"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char chat[512];
        snprintf(chat, sizeof chat, "{" HI ",%s}", cases[i].members);
        expect_refusal(chat, "gemini-2.5-flash", cases[i].param);
    }
    expect_member("{" HI
                  ",'response_format':{'type':'json_object'},'tools':[{'type':'function','function':{'name':'f'}}"
                  "]}",
                  "gemini-3-flash", "generationConfig", "{'responseMimeType':'application/json'}");
}

/* ---- answers ---- */

/* Pieces as lines of text. */
typedef struct heard {
    weirp_writer text;
    weirp_usage usage;
    weir_status answer; /* to give for each piece */
} heard;

static weir_status hear(void *user, const weirp_piece *p, weir_error *err) {
    static const char *const names[] = {"start",     "text",   "reasoning", "refusal", "tool",
                                        "arguments", "finish", "usage",     "end"};
    static const char *const finishes[] = {"none", "stop", "length", "tools", "filter", "other"};
    heard *h = user;
    (void)err;
    weirp_putf(&h->text, "%s%zu", names[p->kind], p->choice);
    if (p->kind == WEIRP_PIECE_TOOL || p->kind == WEIRP_PIECE_ARGUMENTS) weirp_putf(&h->text, ".%zu", p->index);
    if (p->id) weirp_putf(&h->text, " id=%.*s", (int)p->id_len, p->id);
    if (p->name) weirp_putf(&h->text, " name=%.*s", (int)p->name_len, p->name);
    if (p->text) weirp_putf(&h->text, " %.*s", (int)p->text_len, p->text);
    if (p->kind == WEIRP_PIECE_FINISH) weirp_putf(&h->text, " %s", finishes[p->finish]);
    if (p->kind == WEIRP_PIECE_USAGE) {
        h->usage = *p->usage;
        weirp_putf(&h->text, " %d/%d", (int)p->usage->input_tokens, (int)p->usage->output_tokens);
    }
    weirp_putf(&h->text, "\n");
    return h->answer;
}

static void assert_heard(heard *h, const char *expected) {
    char *want = quoted(expected);
    weirp_put(&h->text, "", 1);
    assert_string_equal((const char *)h->text.data, want);
    free(want);
    weirp_writer_free(&h->text);
}

static weir_status feed(weirp_reader *reader, const char *event, heard *h, weirp_vendor_fault *fault) {
    char *text = quoted(event);
    weir_error err = {0};
    weir_status st = weirp_gemini_ops.event(reader, NULL, 0, text, strlen(text), hear, h, fault, &err);
    assert_int_equal(st, err.status);
    assert_true(st == WEIR_OK || *err.text);
    free(text);
    return st;
}

static weir_status read_body(const char *body, heard *h) {
    char *text = quoted(body);
    weir_error err = {0};
    weir_status st = weirp_gemini_ops.body(text, strlen(text), hear, h, &err);
    assert_int_equal(st, err.status);
    free(text);
    return st;
}

static void reads_answer(void **state) {
    (void)state;
    heard h = {0};
    assert_int_equal(
        read_body(
            "{'candidates':[{'content':{'role':'model','parts':[{'text':'hm','thought':true},{'text':'Hello'},"
            "{'text':' there'},{'text':'','thoughtSignature':'AAAA'},{'inlineData':{'mimeType':'image/png','data':"
            "'AAAA'}}]},'finishReason':'STOP','index':0,'safetyRatings':[]}],'usageMetadata':{'promptTokenCount':"
            "10,'candidatesTokenCount':4,'thoughtsTokenCount':6,'totalTokenCount':20},'modelVersion':"
            "'gemini-2.5-flash','responseId':'abc'}",
            &h),
        WEIR_OK);
    assert_heard(&h, "start0 id=abc name=gemini-2.5-flash\nreasoning0 hm\ntext0 Hello\ntext0  there\nfinish0 stop\n"
                     "usage0 10/10\nend0\n");
    assert_true(h.usage.known);
    assert_int_equal(h.usage.reasoning_tokens, 6);
}

static void reads_candidates(void **state) {
    (void)state;
    heard h = {0};
    assert_int_equal(read_body("{'candidates':[{'content':{'parts':[{'text':'a'}]},'finishReason':'STOP'},{'content':{"
                               "'parts':[{'text':'b'}]},'finishReason':'MAX_TOKENS','index':1}]}",
                               &h),
                     WEIR_OK);
    assert_heard(&h, "text0 a\nfinish0 stop\ntext1 b\nfinish1 length\nend0\n");
}

static void reads_calls(void **state) {
    (void)state;
    heard h = {0};
    assert_int_equal(read_body("{'candidates':[{'content':{'parts':[{'functionCall':{'name':'f','args':{'x':1},'id':"
                               "'own-1'}},{'functionCall':{'name':'g','id':'own-2'}}]},'finishReason':'STOP'}]}",
                               &h),
                     WEIR_OK);
    assert_heard(&h, "tool0.0 id=own-1 name=f\narguments0.0 {'x':1}\ntool0.1 id=own-2 name=g\narguments0.1 {}\n"
                     "finish0 tools\nend0\n");
}

static void made_id(const char *response, const char *own, char id[64]) {
    heard h = {0};
    char body[512];
    snprintf(body, sizeof body,
             "{'responseId':'%s','candidates':[{'content':{'parts':[{'functionCall':{'name':'f','args':{},'id':'%s'}}]}"
             ",'finishReason':'STOP'}]}",
             response, own);
    assert_int_equal(read_body(body, &h), WEIR_OK);
    weirp_put(&h.text, "", 1);
    const char *at = strstr((const char *)h.text.data, "tool0.0 id=");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "tool0.0 id=%63s", id), 1);
    weirp_writer_free(&h.text);
}

/* Ids are the same for the same answer, and others for others; those that other vendors refuse are replaced. */
static void makes_ids(void **state) {
    (void)state;
    char a[64], b[64], c[64];
    made_id("r1", "", a);
    made_id("r1", "", b);
    made_id("r2", "", c);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_int_equal(strncmp(a, "call_", 5), 0);
    assert_int_equal(strlen(a), 29);
    made_id("r1", "with spaces", b);
    assert_int_equal(strncmp(b, "call_", 5), 0);
    assert_string_not_equal(a, b);
    made_id("r1", "0123456789012345678901234567890123456789x", b);
    assert_int_equal(strncmp(b, "call_", 5), 0);
    made_id("r1", "0123456789012345678901234567890123456789", b);
    assert_string_equal(b, "0123456789012345678901234567890123456789");
}

static void maps_finishes(void **state) {
    (void)state;
    static const struct {
        const char *reason, *finish;
    } cases[] = {{"STOP", "stop"},           {"MAX_TOKENS", "length"},
                 {"SAFETY", "filter"},       {"RECITATION", "filter"},
                 {"BLOCKLIST", "filter"},    {"PROHIBITED_CONTENT", "filter"},
                 {"SPII", "filter"},         {"IMAGE_SAFETY", "filter"},
                 {"LANGUAGE", "other"},      {"MALFORMED_FUNCTION_CALL", "other"},
                 {"OTHER", "other"},         {"UNEXPECTED_TOOL_CALL", "other"},
                 {"SOMETHING_NEW", "other"}, {"FINISH_REASON_UNSPECIFIED", "other"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        heard h = {0};
        char body[256], expected[64];
        snprintf(body, sizeof body, "{'candidates':[{'finishReason':'%s'}]}", cases[i].reason);
        snprintf(expected, sizeof expected, "finish0 %s\nend0\n", cases[i].finish);
        assert_int_equal(read_body(body, &h), WEIR_OK);
        assert_heard(&h, expected);
    }
}

static void reads_blocked_prompt(void **state) {
    (void)state;
    heard h = {0};
    assert_int_equal(read_body("{'promptFeedback':{'blockReason':'PROHIBITED_CONTENT'},'usageMetadata':{"
                               "'promptTokenCount':7,'totalTokenCount':7},'modelVersion':'m'}",
                               &h),
                     WEIR_OK);
    assert_heard(&h, "start0 id= name=m\nfinish0 filter\nusage0 7/0\nend0\n");
    assert_true(h.usage.known);
}

static void refuses_answers(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "",
        "<html>",
        "7",
        "[]",
        "{}",
        "{'candidates':[]}",
        "{'candidates':[7]}",
        "{'candidates':[{'content':{'parts':[{'text':'cut'}]}}]}",
        "{'candidates':[{'index':8,'finishReason':'STOP'}]}",
        "{'candidates':[{'index':-1,'finishReason':'STOP'}]}",
        "{'candidates':[{'content':{'parts':[{'functionCall':{'args':{}}}]},'finishReason':'STOP'}]}",
        "{'promptFeedback':{}}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        heard h = {0};
        assert_int_equal(read_body(bodies[i], &h), WEIR_PARSE);
        weirp_writer_free(&h.text);
    }
}

static void refuses_error_as_answer(void **state) {
    (void)state;
    heard h = {0};
    assert_int_equal(read_body("{'error':{'code':500,'message':'oops','status':'INTERNAL'}}", &h), WEIR_NET);
    assert_int_equal(read_body("[{'error':{'code':500}}]", &h), WEIR_NET);
    assert_null(h.text.data);
}

static void reads_stream(void **state) {
    (void)state;
    weirp_reader *reader = weirp_gemini_ops.open();
    assert_non_null(reader);
    heard h = {0};
    assert_int_equal(feed(reader,
                          "{'candidates':[{'content':{'parts':[{'text':'a'}],'role':'model'},'index':0}],"
                          "'usageMetadata':{'promptTokenCount':5,'totalTokenCount':5},'responseId':'r','modelVersion':"
                          "'m'}",
                          &h, NULL),
                     WEIR_OK);
    assert_false(h.usage.known);
    assert_heard(&h, "start0 id=r name=m\nusage0 5/0\ntext0 a\n");
    assert_int_equal(feed(reader,
                          "{'candidates':[{'content':{'parts':[{'functionCall':{'name':'f','args':{},'id':'i'}}]}}],"
                          "'usageMetadata':{'promptTokenCount':5,'candidatesTokenCount':3},'responseId':'r'}",
                          &h, NULL),
                     WEIR_OK);
    assert_true(h.usage.known);
    assert_heard(&h, "usage0 5/3\ntool0.0 id=i name=f\narguments0.0 {}\n");
    assert_int_equal(feed(reader,
                          "{'candidates':[{'content':{'parts':[{'functionCall':{'name':'f','args':{'b':[]},'id':'j'}},"
                          "{'text':''}]},'finishReason':'STOP'}],'responseId':'r'}",
                          &h, NULL),
                     WEIR_OK);
    assert_heard(&h, "tool0.1 id=j name=f\narguments0.1 {'b':[]}\nfinish0 tools\nend0\n");
    assert_int_equal(feed(reader, "{'usageMetadata':{'promptTokenCount':5,'candidatesTokenCount':9}}", &h, NULL),
                     WEIR_OK);
    assert_heard(&h, "usage0 5/9\n");
    free(reader);
}

/* The end comes with the last choice's; a second finish reason is none. */
static void ends_streams_once(void **state) {
    (void)state;
    weirp_reader *reader = weirp_gemini_ops.open();
    assert_non_null(reader);
    heard h = {0};
    assert_int_equal(feed(reader, "{'candidates':[{'content':{'parts':[{'text':'a'}]}},{'index':1}]}", &h, NULL),
                     WEIR_OK);
    assert_int_equal(feed(reader, "{'candidates':[{'finishReason':'STOP'}]}", &h, NULL), WEIR_OK);
    assert_int_equal(feed(reader, "{'candidates':[{'finishReason':'STOP'}]}", &h, NULL), WEIR_OK);
    assert_heard(&h, "text0 a\nfinish0 stop\n");
    assert_int_equal(feed(reader, "{'promptFeedback':{'blockReason':'SAFETY'}}", &h, NULL), WEIR_OK);
    assert_heard(&h, "finish1 filter\nend0\n");
    free(reader);
}

static void reports_stream_faults(void **state) {
    (void)state;
    weirp_reader *reader = weirp_gemini_ops.open();
    assert_non_null(reader);
    heard h = {0};
    weirp_vendor_fault fault = {0};
    assert_int_equal(feed(reader, "{'error':{'code':503,'message':'The model is overloaded.','status':'UNAVAILABLE'}}",
                          &h, &fault),
                     WEIR_NET);
    assert_int_equal(fault.kind, WEIRP_VENDOR_OVERLOADED);
    assert_string_equal(fault.code, "UNAVAILABLE");
    assert_string_equal(fault.text, "The model is overloaded.");
    assert_int_equal(feed(reader, "[{'error':{'code':500,'message':'x','status':'INTERNAL'}}]", &h, &fault), WEIR_NET);
    assert_int_equal(fault.kind, WEIRP_VENDOR_SERVER);
    assert_int_equal(feed(reader, "{'error':{'code':429}}", &h, NULL), WEIR_NET);
    assert_int_equal(feed(reader, "{'candidates':", &h, &fault), WEIR_PARSE);
    assert_int_equal(feed(reader, "[]", &h, &fault), WEIR_PARSE);
    assert_null(h.text.data);
    free(reader);
}

/* What listens may stop the reading: its status comes back. */
static void passes_on_what_stops(void **state) {
    (void)state;
    static const char *const events[] = {
        "{'responseId':'r'}",
        "{'candidates':[{'content':{'parts':[{'text':'a'}]}}]}",
        "{'candidates':[{'content':{'parts':[{'functionCall':{'name':'f'}}]}}]}",
        "{'candidates':[{'finishReason':'STOP'}]}",
        "{'promptFeedback':{'blockReason':'SAFETY'}}",
        "{'usageMetadata':{}}",
    };
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        weirp_reader *reader = weirp_gemini_ops.open();
        assert_non_null(reader);
        heard h = {.answer = WEIR_CANCELED};
        char *text = quoted(events[i]);
        assert_int_equal(weirp_gemini_ops.event(reader, NULL, 0, text, strlen(text), hear, &h, NULL, NULL),
                         WEIR_CANCELED);
        free(text);
        weirp_writer_free(&h.text);
        free(reader);
    }
}

static void counts_usage(void **state) {
    (void)state;
    static const struct {
        const char *json;
        weirp_usage usage;
    } cases[] = {
        {"'promptTokenCount':100,'cachedContentTokenCount':40,'toolUsePromptTokenCount':11,'candidatesTokenCount':20,"
         "'thoughtsTokenCount':30,'promptTokensDetails':[{'modality':'TEXT','tokenCount':70},{'modality':'AUDIO',"
         "'tokenCount':30}],'candidatesTokensDetails':[{'modality':'AUDIO','tokenCount':15},{'modality':'TEXT',"
         "'tokenCount':5}]",
         {.input_tokens = 111,
          .cached_input_tokens = 40,
          .audio_input_tokens = 30,
          .output_tokens = 50,
          .reasoning_tokens = 30,
          .audio_output_tokens = 15}},
        /* 12 of the 30 audio tokens came from the cache. */
        {"'promptTokenCount':100,'cachedContentTokenCount':40,'promptTokensDetails':[{'modality':'AUDIO','tokenCount':"
         "30}],'cacheTokensDetails':[{'modality':'AUDIO','tokenCount':12},{'modality':'TEXT','tokenCount':28}]",
         {.input_tokens = 100, .cached_input_tokens = 40, .audio_input_tokens = 18}},
        /* Parts beyond their whole, and what is no count. */
        {"'promptTokenCount':10,'cachedContentTokenCount':40,'promptTokensDetails':[{'modality':'AUDIO','tokenCount':"
         "30}],'candidatesTokenCount':-5,'candidatesTokensDetails':[{'modality':'AUDIO','tokenCount':7}],"
         "'thoughtsTokenCount':'many'",
         {.input_tokens = 10, .cached_input_tokens = 10}},
        {"'promptTokenCount':9223372036854775807,'toolUsePromptTokenCount':9223372036854775807",
         {.input_tokens = INT64_C(1) << 49}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        heard h = {0};
        char body[1024];
        snprintf(body, sizeof body, "{'candidates':[{'finishReason':'STOP'}],'usageMetadata':{%s}}", cases[i].json);
        assert_int_equal(read_body(body, &h), WEIR_OK);
        const weirp_usage *want = &cases[i].usage;
        assert_true(h.usage.known && !h.usage.estimated);
        assert_int_equal(h.usage.input_tokens, want->input_tokens);
        assert_int_equal(h.usage.cached_input_tokens, want->cached_input_tokens);
        assert_int_equal(h.usage.audio_input_tokens, want->audio_input_tokens);
        assert_int_equal(h.usage.cache_write_tokens, 0);
        assert_int_equal(h.usage.output_tokens, want->output_tokens);
        assert_int_equal(h.usage.reasoning_tokens, want->reasoning_tokens);
        assert_int_equal(h.usage.audio_output_tokens, want->audio_output_tokens);
        weirp_writer_free(&h.text);
    }
}

/* ---- errors ---- */

static bool fault_of(weirp_vendor_fault *fault, int status, const char *text) {
    json_t *json = json_of(text);
    const bool known = weirp_gemini_ops.fault(fault, status, json);
    json_decref(json);
    return known;
}

static void sorts_faults(void **state) {
    (void)state;
    static const struct {
        const char *error;
        int status;
        weirp_vendor_fault_kind kind;
    } cases[] = {
        {"'code':429,'status':'RESOURCE_EXHAUSTED','message':'You exceeded your current quota, please check your plan "
         "and billing details.','details':[{'@type':'type.googleapis.com/google.rpc.QuotaFailure','violations':[{"
         "'quotaId':'GenerateRequestsPerDayPerProjectPerModel-FreeTier','quotaValue':'20'}]},{'@type':"
         "'type.googleapis.com/google.rpc.RetryInfo','retryDelay':'36s'}]",
         429, WEIRP_VENDOR_RATE_LIMIT},
        {"'code':429,'status':'RESOURCE_EXHAUSTED','message':'You exceeded your current quota','details':[{'violations'"
         ":[{'quotaValue':'0'}]}]",
         429, WEIRP_VENDOR_QUOTA},
        {"'code':429,'status':'RESOURCE_EXHAUSTED','message':'Your prepayment credits are depleted.'", 429,
         WEIRP_VENDOR_QUOTA},
        {"'code':429,'status':'RESOURCE_EXHAUSTED','details':[{'reason':'MODEL_CAPACITY_EXHAUSTED'}]", 429,
         WEIRP_VENDOR_OVERLOADED},
        {"'code':400,'status':'INVALID_ARGUMENT','message':'API key not valid. Please pass a valid API key.'", 400,
         WEIRP_VENDOR_AUTH},
        {"'code':400,'status':'INVALID_ARGUMENT','message':'x','details':[{'reason':'API_KEY_INVALID'}]", 400,
         WEIRP_VENDOR_AUTH},
        {"'code':400,'status':'INVALID_ARGUMENT','message':'The input token count (3475108) exceeds the maximum number "
         "of tokens allowed (1048576).'",
         400, WEIRP_VENDOR_TOO_LONG},
        {"'code':400,'status':'INVALID_ARGUMENT','message':'Request payload size exceeds the limit: 20971520 bytes.'",
         400, WEIRP_VENDOR_TOO_LONG},
        {"'code':400,'status':'INVALID_ARGUMENT','message':'Invalid JSON payload received.'", 400,
         WEIRP_VENDOR_INVALID},
        {"'code':400,'status':'FAILED_PRECONDITION','message':'User location is not supported for the API use.'", 400,
         WEIRP_VENDOR_AUTH},
        {"'code':400,'status':'FAILED_PRECONDITION','message':'x'", 400, WEIRP_VENDOR_INVALID},
        {"'code':401,'status':'UNAUTHENTICATED'", 401, WEIRP_VENDOR_AUTH},
        {"'code':403,'status':'PERMISSION_DENIED'", 403, WEIRP_VENDOR_AUTH},
        {"'code':404,'status':'NOT_FOUND'", 404, WEIRP_VENDOR_NOT_FOUND},
        {"'code':500,'status':'INTERNAL'", 500, WEIRP_VENDOR_SERVER},
        {"'code':503,'status':'UNAVAILABLE'", 503, WEIRP_VENDOR_OVERLOADED},
        {"'code':504,'status':'DEADLINE_EXCEEDED'", 504, WEIRP_VENDOR_TIMEOUT},
        {"'code':499,'status':'CANCELLED'", 499, WEIRP_VENDOR_SERVER},
        {"'message':'no code'", 429, WEIRP_VENDOR_RATE_LIMIT},
        {"'message':'API key expired. Please renew the API key.'", 400, WEIRP_VENDOR_AUTH},
        {"'code':413", 413, WEIRP_VENDOR_TOO_LONG},
        {"'code':408", 408, WEIRP_VENDOR_TIMEOUT},
        {"'code':422", 422, WEIRP_VENDOR_INVALID},
        {"'code':502", 502, WEIRP_VENDOR_SERVER},
        {"'code':503", 503, WEIRP_VENDOR_OVERLOADED},
        {"'message':7", 0, WEIRP_VENDOR_SERVER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        weirp_vendor_fault fault = {0};
        snprintf(text, sizeof text, "{'error':{%s}}", cases[i].error);
        assert_true(fault_of(&fault, cases[i].status, text));
        if (fault.kind != cases[i].kind) print_error("%s is of kind %d\n", text, fault.kind);
        assert_int_equal(fault.kind, cases[i].kind);
        snprintf(text, sizeof text, "[{'error':{%s}}]", cases[i].error);
        assert_true(fault_of(&fault, cases[i].status, text));
        assert_int_equal(fault.kind, cases[i].kind);
    }
    weirp_vendor_fault fault = {0};
    static const char *const others[] = {"{}", "[]", "7", "{'error':'text'}", "{'detail':'x'}"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_false(fault_of(&fault, 500, others[i]));
}

static void hides_keys(void **state) {
    (void)state;
    weirp_vendor_fault fault = {0};
    assert_true(fault_of(&fault, 403,
                         "{'error':{'code':403,'status':'PERMISSION_DENIED','message':'Permission denied: Consumer "
                         "\\u0027api_key:AIzaSyA-b_c9\\u0027 has been suspended, AIzaSyA-b_c9.'}}"));
    assert_string_equal(fault.text, "Permission denied: Consumer '(key)' has been suspended, (key)");
    /* A text that is cut is cut between characters. */
    char text[2048] = "{'error':{'message':'x";
    for (size_t i = 0; i < 400; i++) strcat(text, "\xc3\xa4");
    strcat(text, "'}}");
    assert_true(fault_of(&fault, 500, text));
    assert_true(strlen(fault.text) > 500 && strlen(fault.text) < sizeof fault.text);
    assert_int_equal(weirp_utf8_valid(fault.text, strlen(fault.text)), strlen(fault.text));
    /* A key at the cut. */
    char long_text[2048] = "{'error':{'message':'";
    for (size_t i = 0; i < 506; i++) strcat(long_text, "x");
    strcat(long_text, "AIzaSecret'}}");
    assert_true(fault_of(&fault, 500, long_text));
    assert_null(strstr(fault.text, "AI"));
}

/* ---- memory ---- */

static size_t allocations_left;

static void *scarce_malloc(size_t size) {
    return allocations_left && allocations_left-- ? malloc(size) : NULL;
}

/* Refuses the n-th of Jansson's allocations, for n = 0, 1, 2, ... until nothing fails; leaks are the sanitizer's. */
static void survives_want_of_memory(void **state) {
    (void)state;
    weirp_request request = {
        .max_output_tokens = 10,
        .n_choices = 2,
        .chat = json_of("{'messages':[{'role':'system','content':'s'},{'role':'user','content':[{'type':'text','text':"
                        "'t'},{'type':'image_url','image_url':{'url':'data:image/png;base64,AA'}},{'type':'image_url',"
                        "'image_url':{'url':'https://x.org/a.png'}}]},{'role':'assistant','content':'c','tool_calls':["
                        "{'id':'i','type':'function','function':{'name':'f','arguments':'{}'}}]},{'role':'tool',"
                        "'tool_call_id':'i','content':'x'}],'tools':[{'type':'function','function':{'name':'f',"
                        "'parameters':{'properties':{'a':{'$ref':'#/definitions/A'},'b':{'const':1}},'anyOf':[{}]}}}],"
                        "'tool_choice':{'function':{'name':'f'}},'stop':'x','seed':1,'reasoning_effort':'low',"
                        "'response_format':{'type':'json_schema','json_schema':{'schema':{}}}}")};
    const weirp_target target = {.model = "gemini-3-flash", .max_output_tokens = NAN};
    char *answer = quoted("{'candidates':[{'content':{'parts':[{'text':'a'},{'functionCall':{'name':'f','args':{'x':1}}"
                          "}]},'finishReason':'STOP'}],'usageMetadata':{'promptTokenCount':1},'responseId':'r'}");
    size_t failures = 0;
    for (size_t n = 0, failed = 1; failed; n++) {
        weirp_writer body = {0};
        weirp_fault fault;
        heard h = {0};
        char path[128];
        failed = 0;
        json_set_alloc_funcs(scarce_malloc, free);
        allocations_left = n;
        const weir_status wrote = weirp_gemini_ops.write(&request, &target, &body, path, sizeof path, &fault);
        failed += !allocations_left;
        allocations_left = n;
        const weir_status read = weirp_gemini_ops.body(answer, strlen(answer), hear, &h, NULL);
        failed += !allocations_left;
        json_set_alloc_funcs(malloc, free);
        failures += failed;
        assert_true(wrote == WEIR_OK || wrote == WEIR_NOMEM);
        assert_true(read == WEIR_OK || read == WEIR_NOMEM || read == WEIR_PARSE);
        assert_true(failed || (wrote == WEIR_OK && read == WEIR_OK));
        weirp_writer_free(&body);
        weirp_writer_free(&h.text);
    }
    assert_true(failures > 50);
    free(answer);
    json_decref(request.chat);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_path),
        cmocka_unit_test(writes_messages),
        cmocka_unit_test(writes_media),
        cmocka_unit_test(refuses_media),
        cmocka_unit_test(writes_calls_and_results),
        cmocka_unit_test(signs_first_calls),
        cmocka_unit_test(refuses_messages),
        cmocka_unit_test(writes_tools),
        cmocka_unit_test(writes_tool_choice),
        cmocka_unit_test(writes_generation),
        cmocka_unit_test(writes_lengths),
        cmocka_unit_test(refuses_members),
        cmocka_unit_test(reads_answer),
        cmocka_unit_test(reads_candidates),
        cmocka_unit_test(reads_calls),
        cmocka_unit_test(makes_ids),
        cmocka_unit_test(maps_finishes),
        cmocka_unit_test(reads_blocked_prompt),
        cmocka_unit_test(refuses_answers),
        cmocka_unit_test(refuses_error_as_answer),
        cmocka_unit_test(reads_stream),
        cmocka_unit_test(ends_streams_once),
        cmocka_unit_test(reports_stream_faults),
        cmocka_unit_test(passes_on_what_stops),
        cmocka_unit_test(counts_usage),
        cmocka_unit_test(sorts_faults),
        cmocka_unit_test(hides_keys),
        cmocka_unit_test(survives_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
