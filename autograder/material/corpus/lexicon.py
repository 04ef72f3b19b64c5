"""The words of the parallel corpus: English, French, the gender a translation needs, and what goes with what.

Tags say which combinations make sense (one reads a text; what passes can be so now or often); they are no part of the
grammar. A form
in the tables stands before its irregular ones: "mouse/mice", "beau/belle/beaux". French words of several parts are
written with spaces.
"""

from autograder.material.corpus.words import Forms, Noun, adjectives, nouns, phrases, verbs

VOWELS = "aàâeéèêiîïoôuùûyœh"  # every h of this lexicon is mute

# Parts of a longer French expression that carry no content of their own: "pommes de terre", "se réveille", "la nuit".
FUNCTION_PARTS = frozenset(("de", "à", "en", "se", "ce", "la", "chaque", "sans", "avec"))

NOUNS = nouns("""
boy | garçon | m | person
man/men | homme | m | person
father | père | m | person kin
king | roi | m | person
uncle | oncle | m | person kin
girl | fille | f | person
woman/women | femme | f | person
mother | mère | f | person kin
queen | reine | f | person
aunt | tante | f | person kin
dog | chien | m | animal
cat | chat | m | animal
horse | cheval/chevaux | m | animal
bird | oiseau | m | animal
duck | canard | m | animal
cow | vache | f | animal
mouse/mice | souris | f | animal
bee | abeille | f | animal
turtle | tortue | f | animal
cake | gâteau | m | food
egg | œuf | m | food
apple | pomme | f | food
orange | orange | f | food
potato | pomme de terre | f | food
ice cream | glace | f | food
book | livre | m | text
postcard | carte postale/cartes postales | f | text
letter | lettre | f | text closed
hat | chapeau | m | thing
umbrella | parapluie | m | thing closed cover
boat | bateau | m | thing wood top
shoe | chaussure | f | thing
key | clé | f | thing
cup | tasse | f | thing hollow
box | boîte | f | thing wood closed hollow inside
table | table | f | thing wood top cover
toothbrush | brosse à dents | f | thing
car | voiture | f | thing closed inside
garden | jardin | m | place inside
bridge | pont | m | place wood top cover
tree | arbre | m | place cover
hotel | hôtel | m | place inside
house | maison | f | place inside hollow
school | école | f | place inside
island | île | f | place top
train station | gare | f | place inside hollow
swimming pool | piscine | f | place inside hollow
""")

NAMES = tuple(
    Noun(Forms(name, ""), Forms(name, ""), feminine, frozenset(("person",)), is_name=True)
    for name, feminine in (
        ("Anna", True),
        ("Clara", True),
        ("Emma", True),
        ("Lucas", False),
        ("Oscar", False),
        ("Paul", False),
    )
)

BEFORE_NOUN = adjectives(
    """
small | petit | | very | person animal food text thing place
big | grand | | very | animal food thing place
old | vieux/vieille | vieil | very | person animal text thing place
young | jeune | | very | person animal
new | nouveau/nouvelle | nouvel | | text thing place
beautiful | beau/belle | bel | very | person animal text thing place
good | bon/bonne | | very | food text
""",
    before_noun=True,
)
AFTER_NOUN = adjectives(
    """
red | rouge | | | thing text place
blue | bleu | | | thing text place
black | noir | | | animal thing text
white | blanc/blanche | | | animal thing place
wooden | =en bois | | | wood
heavy | lourd | | very | food text thing
cheap | =bon marché | | very | food text thing
cold | froid | | very | food place passing
empty | vide | | | hollow passing
clean | propre | | very | thing place animal passing
strange | étrange | | very | person animal text thing place food
famous | célèbre | | very | person text place
tired | fatigué | | very | person animal passing
happy | heureux/heureuse | | very | person animal passing
ill | malade | | very | person animal passing
""",
    before_noun=False,
)
ADJECTIVES = BEFORE_NOUN + AFTER_NOUN

# "is hungry" is "a faim", has hunger.
STATES = phrases("""
hungry | faim | person animal
thirsty | soif | person animal
afraid | peur | person animal
sleepy | sommeil | person animal
""")

VERBS = verbs("""
sleep | dort/dorment | person animal | | |
sing | chante | person | | |
dance | danse | person | | | how
run | court/courent | person animal | | |
swim | nage | person animal | | | how
work | travaille | person | | | how
arrive | arrive | person animal | | |
fall | tombe | person animal food text thing | | |
disappear | disparaît/disparaissent | person animal food text thing | | |
burn | brûle | food text wood hollow | | |
walk | marche | person animal | | | how
wake up | se réveille | person animal | | |
hurry | se dépêche | person animal | | |
see | voit/voient | person animal | person animal food text thing place | |
eat | mange | person animal | food | | how
buy | achète | person | food text thing | |
wash | lave | person | animal food thing | | how
carry | porte | person | food text thing | | how
find | trouve | person animal | person animal food text thing | |
read | lit/lisent | person | text | | how
write | écrit/écrivent | person | text | | how
open | ouvre | person | closed | | how
close | ferme | person | closed | | how
love | aime | person | person animal food text place | | state
hear | entend/entendent | person animal | person animal | |
look for | cherche | person animal | person animal food text thing | |
listen to | écoute | person animal | person | |
wait for | attend/attendent | person animal | person animal | |
watch | regarde | person animal | person animal place | |
help | aide | person | person animal | |
know | connaît/connaissent | person | person place text | | state
visit | visite | person | place | |
give | donne | person | food text thing animal | person |
send | envoie | person | text thing | person |
belong | appartient/appartiennent | animal text thing place | | person | state
""")

PLACES = phrases("""
in | dans | inside
on | sur | top
under | sous | cover
behind | derrière | person place top
in front of | devant | person place top
near | près de | person place top
next to | à côté de | person place top
with | avec | person
""")
TIMES = phrases("""
today | aujourd'hui |
now | maintenant |
tonight | ce soir |
at night | la nuit |
every morning | chaque matin |
""")
FREQUENCIES = phrases("""
often | souvent | negatable
always | toujours | negatable
sometimes | parfois |
rarely | rarement |
""")
MANNERS = phrases("""
slowly | lentement |
quickly | vite |
well | bien |
carefully | avec soin |
quietly | sans bruit |
""")
NUMBERS = phrases("""
two | deux |
three | trois |
four | quatre |
five | cinq |
six | six |
""")
# The tag is the relation of the word to the second clause's verb; what is so when or while something happens must pass.
JOINTS = phrases("""
because | parce que | mark
when | quand | mark passing
while | pendant que | mark passing
if | si | mark passing
and | et | cc
but | mais | cc
""")

# English determiner: French for (masculine, feminine, plural); "" where the English word does not take that number.
DETERMINERS = {
    "the": ("le", "la", "les"),
    "a": ("un", "une", ""),
    "some": ("", "", "des"),
    "any": ("", "", "de"),
    "my": ("mon", "ma", "mes"),
    "our": ("notre", "notre", "nos"),
    "this": ("ce", "cette", ""),
    "these": ("", "", "ces"),
    "every": ("chaque", "chaque", ""),
}
# English subject and object pronouns by the number and the kind of what they stand for.
OBJECT_PRONOUNS = {"he": "him", "she": "her", "it": "it", "they": "them"}

# What a French function word becomes before a vowel, and what two of them become together.
ELIDED = {
    "le": "l'", "la": "l'", "de": "d'", "ne": "n'", "que": "qu'", "se": "s'", "ma": "mon", "ce": "cet",
}  # fmt: skip
CONTRACTED = {
    ("de", "le"): "du", ("de", "les"): "des", ("à", "le"): "au", ("à", "les"): "aux",
    ("de", "des"): "de", ("de", "de"): "de", ("de", "d'"): "d'",
}  # fmt: skip
