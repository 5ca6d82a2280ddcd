"""How common words are in skills at large: what a small library cannot know.

In a library of twenty, `deploy` and `zebra` both stand in one skill. Counted here: in what share of 1,991 public skills
each stem stands, eight levels, all stems that stand in 2 % of them or more. Only counts of words were taken over.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
import numpy.typing as npt

BACKGROUND = 1000.0
"""Skills at large that every library is counted together with. Without the author's own skills among them, recall@5
rises by 0 to 2 points in libraries of 50 to 1,000 public skills, on eval prompts and on long tasks, and stays in one of
2,000; 300 and 3,000 do about as well."""
RARE = 0.0016
"""Share of skills in which a word stands that is not listed: the mean over those."""

_BITS = 17
_SHIFT = np.uint32(32 - _BITS)

_STEMS = """
    0.7 1 2 3 4 requir skill use
    0.45 5 api ask bash build check code creat data exampl file first get input json list name need one output pattern
    provid read run specif time type user without work
    0.26 0 10 6 access action activ add agent appli base call case chang com command complet configur content context
    core current decis default depend descript design detail direct document e error everi execut exist explicit find
    flag format framework full generat handl https id identifi implement import includ instal key level like limit line
    load local make manag md miss model never new note open oper option path per plan process produc product project
    python qualiti real refer report request respons result return review rule scope script secur see set sourc start
    state status step structur support system target task test text tool trigger updat usag valid valu verifi via
    workflow write x
    0.16 7 8 across actual against ai alreadi alway analysi analyz anti app applic architectur artifact asset audit
    author avail behavior best block boundari clear common config confirm constraint contain contract control correct
    count cover criteria custom date defin deploy detect develop differ doc domain enabl end engin environ event evid
    exact expect extract fail failur featur field final fix flow follow function g git go guid help high inform instead
    integr issu keep languag link live log map match messag method mode multi multipl n network next number object optim
    order overview page pass perform point polici post practic prefer prompt purpos py queri question quick rate
    recommend record relat relev resourc risk rout say search select server servic session setup share show singl size
    standard stop strategi summari team templat token true two understand url version vs want web
    0.1 100 20 30 50 9 accept account address allow altern answer anyth approach appropri approv assess assum assumpt
    auth authent auto autom automat avoid b back basic becaus bodi break brief built busi c capabl captur categori
    checklist choos claim class claud clean cli client collect commit compar complex complianc compon comprehens comput
    concept condit conflict connect consist convers copi cost credenti critic cross databas day debug decid definit
    delet determinist dev directori discov discoveri doesn done edg edit effect els email endpoint entri escal establish
    etc evalu even expert export extern f fals fast filter fit focus free gap gate github give goal good group guidanc
    host http hub human imag improv index infer initi instruct interact internal item job js know known label last layer
    learn librari locat logic long look loop low main maintain manual mark markdown matter max mean measur memori
    mention metric minim monitor move node observ organiz outcom owner p packag paramet pars person phase pipelin
    platform posit pre prerequisit present preserv prevent primari principl print problem procedur proceed profil propos
    protocol public python3 rang rather raw readi reason remov repeat replac repo research right role root safe safeti
    save scale scan schema score second secret section self send separ sh shape short sign signal skip small specifi
    stack stage still store string style success surfac tabl tag take technic tell thing three titl top total track
    treat turn unit unless variabl verif view way whether window within word wrong zero
    0.063 01 12 15 admin advanc alert align anoth area argument assign attack audienc background bad baselin batch becom
    better binari bound branch brand browser budget bug bundl cach calcul cannot caus cd chain channel choic ci classifi
    click close cloud codebas combin communic compani comparison concret confid consum continu convent convert coverag
    creation curl dashboard db deep def deliv deliveri depth describ determin dir display distribut download dr draft
    drive driven drop duplic empti enforc english enough ensur env es estim everyth except exit experi explain expos
    fact fetch forc form found frame gather general generic genuin googl govern h hand happen hard head header health
    histori honest hook hour html ident ignor immedi impact incid independ indic info infrastructur inject insid inspect
    intent interfac invent investig invoc involv io isn isol keyword knowledg larg later latest launch layout lead least
    leav legal length let lifecycl machin mani market materi mcp mechan medium meet merg metadata migrat min minimum
    minut modifi modul month nativ navig none normal noth offer offlin often orchestr org origin os otherwis outsid own
    parallel part parti password paste payment peopl period permiss persist phrase pick pip place plain plus port
    possibl power prepar price priorit prioriti privat progress proper properti protect publish pull push r reach
    readabl receiv recent red reduc relationship releas reliabl remain render repositori resolut resolv rest revers
    runtim sampl scenario schedul sensit sentenc sequenc serv sever ship side silent simpl site softwar solut someon
    someth space spec split sql statement stay storag suggest techniqu term threat threshold tier timestamp tl topic
    touch trace transform tree tri trust txt typescript ui uniqu unknown v v1 visibl visual wait warn week well whole
    written yaml year
    0.04 00 11 18 200 2025 24 25 40 500 60 80 90 act adapt addit advic affect aggreg algorithm alon ambigu amount analyt
    appear append aren around array assert assist async attach attempt attribut aw awar backend balanc beat begin behind
    belong benefit beyond bin blocker broken button buy bypass byte cada candid canon cap card care carri cat catalog
    catch certif charact chat cite clarif clarifi classif clawdbot cluster color column come comment compat compet
    compil compos composit concern concis conduct consid consol const contact coordin correl css csv cut daili dataset
    declar decod defens deliver demand deriv devic diagnos diff dimens disabl distinct distinguish docker downstream
    dump durat dynam earli easi echo effici effort either element embed encod encrypt engag enter enterpris entir entiti
    equival essenti expens explor express extend extens face factor fallback famili faster feed feedback feel filenam
    fill financi fine finish five fixtur folder forward foundat four frequenc fresh friend frontend fulli futur given
    global gotcha graph grep ground guarante guess guidelin handler handoff hash helper hidden hide hierarchi higher
    highest hold home idea individu init inlin insight instanc int intellig interpret interview invalid inventori invok
    ip iter java javascript judgment l lab land latenc law leak left legaci len licens linux llm localhost lock login
    lookup lose loss lower mac made major manifest master math matrix maximum media meta methodolog mix mobil modern
    moment money much mutat natur near negat net notic npm npx null obvious offici old onboard openai opportun overrid
    ownership packet pair paragraph parent partial past patch pay payload pdf physic plugin png postgr potenti pr precis
    predict prefix preview previous privaci privileg profession program proof prove proven proxi pure put q quot random
    rank rational react reader readm recoveri recur redirect refactor region regist regress reject rememb remot reproduc
    reserv respect respond retri retriev reusabl rewrit rollback rough round row sale screen segment semant shell shift
    si signatur signific similar sin sinc situat slow snapshot social solo solv sort special speed src stabl stakehold
    stale static statist stori stream strict strong sub subag subject submit suit summar suppli switch sync syntax
    systemat tech technolog termin think third timelin timeout tip today todo trade traffic train transact transfer
    transit translat trend triag troubleshoot truth ts tune typic u unrel upload us usual util v2 vagu var vari variant
    vector vendor verdict video violat voic volum vulner w watch weak websit weight whenev wide win won workspac world
    worth xml yet z
    0.025 000 001 1000 123 13 14 16 2024 2026 22 45 70 absolut abstract abus accuraci achiev ad adjust adopt adversari
    age agreement alloc analyst anchor annual ant architect archiv arg arriv articl atom att attent audio autonom averag
    await azur backup bank bar bearer benchmark big bill bind blog board book box breakdown broad brows builder bulk
    bullet cadenc calendar calibr caller campaign cancel capac center challeng char chart checkout checkpoint chosen
    citi ck classic cleanup clone co collabor communiti compact competit competitor compliant compress compromis concurr
    confus consider constant construct contexto contribut cooki correcto counter countri cpu crypto currenc cycl dd dead
    deadlin deal dedic defer degrad delay deleg deliber demonstr deni deprec desir desktop destin diagnosi diagnost
    diagram dict didn disciplin discuss disk dns doubl dri drift dual due earn ecosystem educ emit enhanc enumer equal
    eval everyon exceed exclud exclus exec exercis expand expertis expir explan exploit exposur extra factual fall
    familiar fee figur fire flat font forev forget formal formato formula front fund gateway gen glob goe grace grade
    grant great green grid growth guard guardrail hack harden headlin heavi height hit hunt hybrid hypothesi incomplet
    increas increment industri instant instrument intend interest interval invest join journey jq justifi k kill kind
    kubernet lack legitim less letter leverag light lint listen longer maco malwar mandatori manipul meaning member
    mental met microsoft mid mismatch mistak mit mitig mitr ml mm modelo moder modo movement narrat narrow negoti nobodi
    nois notif nunca oauth off offic older omit op orient other overal pagin paid pain param partner patron paus pend
    penetr percentag phone pin placehold play playbook pool portfolio postgresql pressur principio prior pro proactiv
    probabl programmat promis promot prop prose purchas qa quarter queue quiet rais ratio realist realiti ref referenc
    refin reflect refresh refus regardless registr registri regul regular regulatori reli remedi remind renam repli
    repres reset restart restrict resum retent reus reveal revenu revis roadmap rollout room rotat router saa scaffold
    scalabl scratch screenshot sdk seed senior seo sequenti shown simul sleep slide slug smallest snippet soc sound span
    spawn specialist spend spot stake stand stat str strateg studi studio subscript substitut succeed suffici sum surviv
    suspect suspici synthes sys tab tailor talk testabl theme thin thread throughout ticket tie tls tmp togeth tone
    toolkit tracker tradeoff trail transcript trivial twitter unauthor unavail uncertainti universal unresolv up upgrad
    usernam ux virtual walk wast width wire worker wrap wrapper www yyyi
"""


def _table() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Return the level by the upper bits of a term's hash, and the share by level.

    One in a hundred rare words gets the level of a listed one.
    """
    levels, shares = np.zeros(1 << _BITS, dtype=np.uint8), [RARE]
    for word in _STEMS.split():
        if word[:2] == "0.":
            shares.append(float(word))
        else:
            levels[crc32(word.encode()) >> (32 - _BITS)] = len(shares) - 1
    return levels, (np.array(shares, dtype=np.float16) * np.float16(BACKGROUND)).astype(np.float64)


LEVELS, SHARES = _table()


def in_background(terms: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """Return in how many of `BACKGROUND` skills each term (hashes, shape (t,)) stands."""
    found: npt.NDArray[np.float64] = SHARES.take(LEVELS.take(terms >> _SHIFT))
    return found
